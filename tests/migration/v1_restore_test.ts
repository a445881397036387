import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { resume } from "../../src/migration/phases/resume.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";
import type { Transaction } from "../../src/checkpoint/batches/transaction.ts";
import { collect, rejectsWith, stateOf, withSim } from "./_sim.ts";

const SAVED = "trapped?size=2MiB&seed=1&chunk=256KiB";

async function saved(): Promise<Transaction[]> {
  let transactions: Transaction[] = [];
  await withSim([SAVED], async ({ devices: [device] }) => {
    transactions = await collect(stopAndCopy(device!));
  });
  return transactions;
}

describe("resume()", () => {
  it("takes transactions from anywhere, whatever buffers they lie in", async () => {
    const transactions = await saved();
    await withSim(["trapped?size=2MiB&seed=2&chunk=256KiB"], async ({ devices: [to], sims }) => {
      const before = sims[0]!.checksum();
      await ReadableStream.from(transactions).pipeTo(resume(to!));
      assert.equal(await stateOf(to!), "running");
      assert.notEqual(sims[0]!.checksum(), before);
      assert.equal(to!.progress().transactions, transactions.length);
    });
  });

  it("goes on after a short write", async () => {
    const specs = [SAVED, "trapped?size=2MiB&seed=2&chunk=256KiB&fault=short-write:2"];
    await withSim(specs, async ({ devices: [from, to], sims }) => {
      await stopAndCopy(from!).pipeTo(resume(to!));
      assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
    });
  });

  for (
    const [fault, errno, code] of [
      ["write:2:EIO", "EIO", "io"],
      ["load:2:EINVAL", "EINVAL", "incompatible-state"],
    ] as const
  ) {
    it(`resets the device when fault=${fault} strikes`, async () => {
      const transactions = await saved();
      const spec = `trapped?size=2MiB&seed=2&chunk=256KiB&fault=${fault}`;
      await withSim([spec], async ({ devices: [to], sims }) => {
        const before = sims[0]!.checksum();
        await rejectsWith(ReadableStream.from(transactions).pipeTo(resume(to!)), {
          code,
          errno,
          deviceState: "running",
          recovery: "reset",
          message: /was reset and is running/,
        });
        assert.equal(sims[0]!.checksum(), before);
      });
    });
  }

  it("resets the device when the last step is refused", async () => {
    const transactions = await saved();
    const spec = "trapped?size=2MiB&seed=2&chunk=256KiB&fault=transition:2:EINVAL";
    await withSim([spec], async ({ devices: [to] }) => {
      await rejectsWith(ReadableStream.from(transactions).pipeTo(resume(to!)), {
        code: "state-refused",
        errno: "EINVAL",
        deviceState: "running",
        recovery: "reset",
      });
    });
  });

  it("says that only a reset helps if the reset failed", async () => {
    const transactions = await saved();
    const spec = "trapped?size=2MiB&seed=2&chunk=256KiB&fault=write:2:EIO&fault=reset:1:EIO";
    await withSim([spec], async ({ devices: [to] }) => {
      await rejectsWith(ReadableStream.from(transactions).pipeTo(resume(to!)), {
        deviceState: "resuming",
        recovery: "failed",
        lost: true,
      });
      await to!.reset();
    });
  });

  it("resets the device when the writer aborts", async () => {
    const transactions = await saved();
    await withSim(["trapped?size=2MiB&seed=2&chunk=256KiB"], async ({ devices: [to], sims }) => {
      const before = sims[0]!.checksum();
      const writer = resume(to!).getWriter();
      await writer.write(transactions[0]!);
      await writer.write(transactions[1]!);
      assert.equal(await stateOf(to!), "resuming");
      await writer.abort(new Error("no more"));
      assert.equal(await stateOf(to!), "running");
      assert.equal(sims[0]!.checksum(), before);
    });
  });

  it("leaves the device resuming if no reset is allowed", async () => {
    const transactions = await saved();
    await withSim(["trapped?size=2MiB&seed=2&chunk=256KiB"], async ({ devices: [to] }) => {
      const writer = resume(to!).getWriter();
      await writer.write(transactions[0]!);
      await writer.abort(new Error("no more"));
      assert.equal(await stateOf(to!), "resuming");
      await to!.reset();
    }, { onError: "leave" });
  });

  it("refuses a state that was cut off, since the device does", async () => {
    const transactions = await saved();
    await withSim(["trapped?size=2MiB&seed=2&chunk=256KiB"], async ({ devices: [to] }) => {
      await rejectsWith(ReadableStream.from(transactions.slice(0, -1)).pipeTo(resume(to!)), {
        errno: "EINVAL",
        deviceState: "running",
        recovery: "reset",
      });
    });
  });

  it("refuses a transaction that is not whole at the end", async () => {
    const [first] = await saved();
    await withSim(["trapped?size=2MiB&seed=2&chunk=256KiB"], async ({ devices: [to] }) => {
      const cut = ReadableStream.from([{ ...first!, more: true }]);
      await rejectsWith(cut.pipeTo(resume(to!)), {
        code: "transaction-cut",
        deviceState: "running",
        recovery: "reset",
      });
    });
  });

  it("refuses a transaction that does not fit the region before writing outside it", async () => {
    await withSim(["trapped?size=64KiB&chunk=4KiB"], async ({ devices: [to] }) => {
      const data = new Uint8Array(new ArrayBuffer(64 << 20));
      const huge: Transaction = { device: 0, phase: "stop-and-copy", data, more: false };
      await rejectsWith(ReadableStream.from([huge]).pipeTo(resume(to!)), {
        code: "data-bounds",
        deviceState: "running",
        recovery: "reset",
      });
    });
  });

  it("refuses a buffer that was given back before", async () => {
    await withSim(["trapped?size=64KiB"], async ({ devices: [to] }) => {
      const data = new Uint8Array(new ArrayBuffer(64));
      structuredClone(data.buffer, { transfer: [data.buffer] });
      const gone: Transaction = { device: 0, phase: "stop-and-copy", data, more: false };
      await assert.rejects(ReadableStream.from([gone]).pipeTo(resume(to!)), /given back/);
      await to!.recover();
    });
  });

  it("works on ice, if the load happens at running and a reset keeps the register", async () => {
    await withSim(["ice?seed=1", "ice?seed=2"], async ({ devices: [from, to], sims }) => {
      const [whole, ...rest] = await collect(stopAndCopy(from!));
      assert.equal(rest.length, 0);
      const short = { ...whole!, data: whole!.data.subarray(0, 1000) };
      await rejectsWith(ReadableStream.from([short]).pipeTo(resume(to!)), {
        errno: "EINVAL",
        deviceState: "running",
        recovery: "reset",
      });
      await ReadableStream.from([whole!]).pipeTo(resume(to!));
      assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
    });
  });
});
