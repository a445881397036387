import assert from "node:assert/strict";
import * as fs from "node:fs";
import { after, before, describe, it } from "node:test";
import * as vfiokit from "../../mod.ts";
import { DEVICE, EVERY_ERROR, ThrowingKernel } from "./_every_error.ts";

const src = new URL("../../src/", import.meta.url);

/** The exported classes of errors, of all layers, by name. */
const CLASSES = new Map<string, unknown>();
for (const layer of fs.readdirSync(src)) {
  const door = new URL(`${layer}/mod.ts`, src);
  if (!fs.existsSync(door)) continue;
  for (const [name, value] of Object.entries(await import(door.href))) {
    if (typeof value === "function" && value.prototype instanceof vfiokit.VfiokitError) {
      CLASSES.set(name, value);
    }
  }
}

/** All that can be known about an error, those around it included. */
function facts(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return thrown;
  const { cause: _cause, ...fields } = { ...thrown } as Record<string, unknown>;
  return {
    class: thrown.constructor,
    message: thrown.message,
    fields: Object.fromEntries(
      Object.entries(fields).map(([name, value]) => [name, nested(value)]),
    ),
    lost: "lost" in thrown ? thrown.lost : undefined,
    cause: facts(thrown.cause),
    cleanup: vfiokit.cleanupErrors(thrown).map(({ message }) => message),
  };
}

function nested(value: unknown): unknown {
  if (value instanceof Error) return facts(value);
  if (Array.isArray(value)) return value.map(nested);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, nested(each)]));
}

it("there is an example of every exported class of errors", () => {
  assert.deepEqual(EVERY_ERROR.map(({ name }) => name).sort(), [...CLASSES.keys()].sort());
  for (const { name, constructor } of EVERY_ERROR) assert.equal(constructor, CLASSES.get(name));
});

for (const host of ["the caller's thread", "a thread"]) {
  describe(`an error of a device on ${host}`, () => {
    let device: vfiokit.Device;
    before(async () => {
      const kernel = new ThrowingKernel(DEVICE);
      device = host === "a thread"
        ? await vfiokit.openDevice(kernel.devices[0]!.path, {
          worker: new Worker(new URL("./_throwing_worker.ts", import.meta.url), {
            type: "module",
          }),
        })
        : await vfiokit.openDevice(kernel.devices[0]!.path, { kernel });
    });
    after(() => device.close());

    for (const [number, expected] of EVERY_ERROR.entries()) {
      it(`arrives as a ${expected.name}, with all that it knows`, async () => {
        await assert.rejects(device.readRegion(0, number, 1), (error: Error) => {
          assert.ok(error instanceof vfiokit.VfiokitError);
          assert.deepEqual(facts(error), facts(expected));
          assert.match(error.stack ?? "", /_every_error/);
          return true;
        });
      });
    }
  });
}
