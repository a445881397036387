import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { openFds } from "../../src/kernel/fd.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import { MigrationError } from "../../src/migration/migration_error.ts";
import { precopy } from "../../src/migration/phases/precopy.ts";
import { resume } from "../../src/migration/phases/resume.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { canHave, parseFault } from "../../src/sim/faults/fault_plan.ts";

const errno = fc.constantFrom("EIO", "ENODEV", "EBUSY", "EINVAL", "EAGAIN", "ENOMSG", "EFAULT");
const n = fc.integer({ min: 1, max: 9 });

const fault = fc.oneof(
  fc.tuple(
    fc.constantFrom("transition", "state-read", "read", "write", "reset", "precopy-info"),
    n,
    errno,
  ).map((parts) => parts.join(":")),
  fc.tuple(
    fc.constantFrom("error-state", "late-error", "short-read", "short-write", "gone"),
    n,
  ).map((parts) => parts.join(":")),
  fc.constantFrom("never-drains"),
);

const personality = fc.constantFrom(
  "mlx5" as const,
  "virtio" as const,
  "qat" as const,
  "hisi" as const,
  "mtty" as const,
  "pds" as const,
  "stop-copy-only" as const,
);

/** The device is in the state that the error names; a device that is gone is in none. */
async function endsAsSaid(device: Device, error: unknown): Promise<void> {
  if (!(error instanceof MigrationError)) throw error;
  // The state as read may be what a fault still hides: asked again, it is told.
  const told = error.deviceState;
  for (let i = 0; i < 9; i++) {
    const { state } = await device.state();
    if (state === told) return;
    assert.ok(state === "unknown" || told === "unknown", `${state}, and "${error.message}"`);
  }
}

describe("whatever goes wrong with v2 devices", () => {
  it("ends with both in a state that is named, nothing open, and the protocol kept", async () => {
    await fc.assert(
      fc.asyncProperty(
        personality,
        fc.array(fault, { maxLength: 4 }),
        fc.array(fault, { maxLength: 4 }),
        async (name, sourceFaults, targetFaults) => {
          const query = (faults: readonly string[]): string =>
            faults.filter((text) => canHave(name, parseFault(text).name))
              .map((text) => `&fault=${text}`).join("");
          const kernel = new SimKernel(
            `${name}?size=256KiB&chunk=16KiB&seed=1${query(sourceFaults)}`,
            `${name}?size=256KiB&chunk=16KiB&seed=2${query(targetFaults)}`,
          );
          const [from, to] = [
            await openDevice(kernel.devices[0]!.path, { kernel }),
            await openDevice(kernel.devices[1]!.path, { kernel }),
          ];
          let failure: unknown = null;
          try {
            const sink = resume(to);
            if (name !== "pds" && name !== "stop-copy-only") {
              await precopy(from, { maxRounds: 2 }).pipeTo(sink, { preventClose: true });
            }
            await stopAndCopy(from).pipeTo(sink);
            assert.equal(kernel.devices[0]!.checksum(), kernel.devices[1]!.checksum());
          } catch (error) {
            failure = error;
          }
          if (failure !== null) {
            const message = String(failure);
            // One of the two has failed, and the error is that one's.
            const results = await Promise.allSettled([
              endsAsSaid(from, failure),
              endsAsSaid(to, failure),
            ]);
            assert.ok(results.some(({ status }) => status === "fulfilled"), message);
          }
          await from.close();
          await to.close();
          for (const { violations } of kernel.devices) assert.deepEqual(violations, []);
          assert.deepEqual(kernel.openObjects, []);
          assert.deepEqual(openFds(), []);
        },
      ),
      { numRuns: 400 },
    );
  });
});
