import assert from "node:assert/strict";
import * as fs from "node:fs";
import { describe, it } from "node:test";
import { CheckpointChain, type LinkReport } from "../../../src/live/mod.ts";
import type { TransferError } from "../../../src/transfer/transfer_error.ts";
import { intercept } from "../../dirty/_session.ts";
import { withFolder } from "../_pair.ts";
import { assertSame, openWriter, restored } from "./_chain.ts";

/** What a run came to. */
interface Run {
  /** Calls of the second checkpoint to the kernel. */
  readonly calls: number;
  readonly second: PromiseSettledResult<LinkReport>;
}

/**
 * Takes three checkpoints; something happens at a call of the second one. The device runs after each,
 * and all that were taken can be restored.
 */
async function run(
  name: string,
  at: number,
  strike: (ending: AbortController) => void,
): Promise<Run> {
  let result: Run | null = null;
  await withFolder(async (folder) => {
    let calls = Number.NaN;
    const ending = new AbortController();
    await using writer = await openWriter(
      `${name}?size=4KiB&dma=random:100/s`,
      (kernel) =>
        intercept(kernel, (next, fd, request, arg) => {
          calls += 1;
          if (calls - 1 === at) strike(ending);
          return next(fd, request, arg);
        }),
    );
    await using chain = new CheckpointChain(writer.device, folder);
    const first = await chain.take();
    const before = await writer.content();
    writer.goOn();
    calls = 0;
    const [second] = await Promise.allSettled([chain.take({ signal: ending.signal })]);
    result = { calls, second: second! };
    calls = Number.NaN;
    assert.equal(writer.kernel.devices[0]!.running, true);
    const failed = second!.status === "rejected";
    assert.deepEqual(fs.readdirSync(folder).sort(), [
      "000000.vfk",
      ...failed ? [] : ["000001.vfk"],
    ]);
    writer.goOn();
    const third = await chain.take();
    assert.equal(third.kind, failed ? "full" : "increment");
    const after = await writer.content();
    assertSame(await restored(folder, `${name}?size=4KiB`, first.number), before, "the first");
    assertSame(await restored(folder, `${name}?size=4KiB`, third.number), after, "the third");
  });
  return result!;
}

describe("a checkpoint that fails", () => {
  for (const name of ["mlx5", "trapped"]) {
    it(`lets the device run on and leaves the chain good, wherever a signal comes: ${name}`, async () => {
      const { calls } = await run(name, -1, () => {});
      assert.ok(calls > 8, `${calls} calls`);
      const ends = new Set<string>();
      for (let at = 0; at < calls; at++) {
        const { second } = await run(name, at, (ending) => ending.abort(new Error("enough")));
        ends.add(second.status);
        if (second.status === "fulfilled") continue;
        const { code, lost } = second.reason as TransferError;
        assert.deepEqual([code, lost], ["cancelled", false], `${second.reason}`);
      }
      assert.ok(ends.has("rejected"));
    });
  }

  it("is reported if the driver fails, and the next one is full", async () => {
    for (const fault of ["read:3:EIO", "transition:8:EIO", "error-state:9"]) {
      await withFolder(async (folder) => {
        await using writer = await openWriter(`mlx5?size=64KiB&dma=random:50/s&fault=${fault}`);
        await using chain = new CheckpointChain(writer.device, folder);
        const done: string[] = [];
        for (let count = 0; count < 5; count++) {
          writer.goOn();
          const [ended] = await Promise.allSettled([chain.take()]);
          done.push(ended!.status === "fulfilled" ? ended!.value.kind : "failed");
          assert.equal((await writer.device.state()).state, "running");
        }
        const failed = done.indexOf("failed");
        assert.ok(failed >= 0, `${fault}: ${done}`);
        assert.equal(done[failed + 1], "full", `${fault}: ${done}`);
        assertSame(await restored(folder, "mlx5?size=64KiB"), await writer.content(), fault);
      });
    }
  });

  it("leaves no file if it cannot get its name", async () => {
    await withFolder(async (folder) => {
      await using writer = await openWriter("mlx5?size=4KiB");
      await using chain = new CheckpointChain(writer.device, folder);
      await chain.take();
      const { link } = fs.promises;
      fs.promises.link = () => Promise.reject(Object.assign(new Error("no"), { code: "EDQUOT" }));
      try {
        await assert.rejects(chain.take(), (error: TransferError) => {
          assert.match(error.message, /EDQUOT.*; the device is running/);
          assert.equal(error.errno, "EDQUOT");
          return true;
        });
      } finally {
        fs.promises.link = link;
      }
      assert.deepEqual(fs.readdirSync(folder), ["000000.vfk"]);
      const { kind, number } = await chain.take();
      assert.deepEqual([kind, number], ["full", 1]);
    });
  });
});
