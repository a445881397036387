import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { printable, UnsupportedError } from "../../mod.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { isDocumented } from "./_documented_errors.ts";
import { type Lie, LyingKernel } from "./_lying_kernel.ts";
import { type Operation, OPERATIONS } from "./_operations.ts";

const U64 = 0xffff_ffff_ffff_ffffn;
const VALUES = [0n, 1n, 0x20n, 0x1234n, 0xffff_ffffn, 1n << 53n, 1n << 63n, U64];
const TEXTS = [
  "",
  "\0",
  "/",
  "../../..",
  "0x",
  "99999999999999999999",
  "x".repeat(1 << 20),
  "\u001b[31mred\u009b1m\u202e\n",
];

/** A lie about one of so many answers. */
function lies(answers: number): fc.Arbitrary<Lie> {
  return fc.record({
    at: fc.nat(answers - 1),
    forGood: fc.boolean(),
    what: fc.constantFrom("bytes", "bytes", "bytes", "result", "failure"),
    offset: fc.oneof(
      fc.nat(24).map((words) => 4 * words),
      fc.integer({ min: 1, max: 24 }).map((words) => -4 * words),
    ),
    width: fc.constantFrom(1, 2, 4, 8),
    value: fc.oneof(fc.constantFrom(...VALUES), fc.bigInt({ min: 0n, max: U64 })),
    result: fc.constantFrom(0, 1, 3, 7, 4096, 0x7fff_ffff),
    text: fc.oneof(fc.constantFrom(...TEXTS), fc.string({ maxLength: 64 })),
  });
}

/** How many answers an operation gets, and what it is asked about. */
async function answersTo(operation: Operation): Promise<readonly string[]> {
  const sim = new SimKernel(operation.spec);
  const kernel = new LyingKernel(sim, null);
  await operation.run(kernel, sim.devices[0]!.path);
  return kernel.asked;
}

/** Fails where an error could do things to a terminal. */
function demandPrintable(error: Error, lied: string | null): void {
  const { cause } = error;
  const reasons = error instanceof UnsupportedError ? error.reasons : [];
  const texts = [error.message, ...reasons.flatMap(({ message, hint }) => [message, hint])];
  for (const text of texts) assert.equal(text, printable(text), `after a lie about ${lied}`);
  if (cause instanceof Error) demandPrintable(cause, lied);
}

/** Fails where a lie leads to another error than a documented one. */
async function demandDocumented(operation: Operation, lie: Lie): Promise<void> {
  const sim = new SimKernel(operation.spec);
  const kernel = new LyingKernel(sim, lie);
  try {
    await operation.run(kernel, sim.devices[0]!.path);
  } catch (error) {
    if (isDocumented(first(error))) return demandPrintable(error as Error, kernel.lied);
    throw new assert.AssertionError({
      message: `a lie about ${kernel.lied} comes out as ${String(error)}\n${
        (error as Error).stack
      }`,
    });
  }
}

/** What failed first, where cleaning up met more. */
function first(error: unknown): unknown {
  return error instanceof SuppressedError ? first(error.suppressed) : error;
}

describe("a lie of the kernel, of a driver or of sysfs ends in success or a documented error", () => {
  for (const operation of OPERATIONS) {
    it(`${operation.name}, ${operation.spec}`, async () => {
      const { length } = await answersTo(operation);
      await fc.assert(
        fc.asyncProperty(lies(length), (lie) => demandDocumented(operation, lie)),
        { numRuns: 150, endOnFailure: true },
      );
    });
  }
});

describe("every word of every struct that an ioctl writes back", () => {
  // Those that open a device, describe it, map, track and unmap; they are quick.
  for (const operation of OPERATIONS.filter(({ name }) => name === "track dirty pages")) {
    it(`may be anything: ${operation.name}, ${operation.spec}`, async () => {
      const asked = await answersTo(operation);
      for (const [at, question] of asked.entries()) {
        if (!question.startsWith("ioctl") || asked.indexOf(question) !== at) continue;
        for (let offset = 0; offset < 96; offset += 4) {
          for (const value of [0n, 1n << 53n, U64]) {
            await demandDocumented(operation, {
              ...{ at, forGood: true, what: "bytes", offset, width: 8, value },
              ...{ result: 0, text: "" },
            });
          }
        }
      }
    });
  }
});
