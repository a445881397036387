import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openDevice } from "../../src/migration/device.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import type { TransferError } from "../../src/transfer/transfer_error.ts";
import { assertSameMemory, MIB, migrateTo, type Outcome, succeeded, withFolder } from "./_pair.ts";

const MAPS = [{ iova: MIB, size: 64n * 4096n }];

/** Migrates a device whose time goes on by 50 ms whenever it is looked at, and so writes a lot. */
async function run(bug: string, verifyMemory: boolean): Promise<Outcome & { same: boolean }> {
  let result: (Outcome & { same: boolean }) | null = null;
  await withFolder(async (folder) => {
    let now = 0;
    const spec = `sim:mlx5?size=4KiB&seed=5&dma=random:1000/s${bug}`;
    const kernel = SimKernel.withClock(() => now += 50, spec);
    await using device = await openDevice(kernel.devices[0]!.path, {
      kernel,
      maps: MAPS,
      tracker: "device",
    });
    const target = new SimKernel("sim:mlx5?size=4KiB&seed=6");
    const outcome = await migrateTo(folder, [device], target, {
      source: {
        downtimeMs: 0,
        maxRounds: 3,
        onNoConverge: "stop",
        ownerWrites: "none",
        verifyMemory,
      },
    });
    let same = false;
    if (outcome.destination.status === "fulfilled") {
      await using devices = outcome.destination.value.devices;
      same = await assertSameMemory(device, devices[0]!).then(() => true, () => false);
    } else assert.equal(kernel.devices[0]!.running, true);
    result = { ...outcome, same };
  });
  return result!;
}

describe("comparing memory", () => {
  it("finds nothing wrong with a driver that keeps to the rules", async () => {
    const { source, same } = await run("", true);
    const { downtime } = succeeded(source);
    assert.ok(downtime.some(({ step }) => step === "verify"));
    assert.equal(same, true);
  });

  for (
    const [what, bug] of [
      ["a log that loses pages", "&bug=log-loses-pages"],
      ["a device that writes after its stop", "&bug=dma-in-stop-copy"],
    ] as const
  ) {
    it(`finds ${what}, names the pages, and the source runs on`, async () => {
      const unseen = await run(bug, false);
      succeeded(unseen.source);
      assert.equal(unseen.same, false);
      const { source, destination } = await run(bug, true);
      assert.ok(source.status === "rejected" && destination.status === "rejected");
      const error = source.reason as TransferError;
      assert.equal(error.code, "peer-refused");
      assert.match(error.message, /Memory differs from the source's in \d+ pages: 0x1[0-9a-f]{5}/);
      assert.equal((destination.reason as TransferError).code, "memory-differs");
    });
  }
});
