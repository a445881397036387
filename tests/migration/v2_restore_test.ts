import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { precopy } from "../../src/migration/phases/precopy.ts";
import type { MigrationErrorCode } from "../../src/migration/migration_error.ts";
import { resume } from "../../src/migration/phases/resume.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";
import type { Transaction } from "../../src/checkpoint/batches/transaction.ts";
import { collect, rejectsWith, stateOf, withSim } from "./_sim.ts";

const ALL = ["mlx5", "virtio", "qat", "hisi", "mtty", "pds", "stop-copy-only"];

async function saved(spec: string): Promise<Transaction[]> {
  let transactions: Transaction[] = [];
  await withSim([spec], async ({ devices: [device] }) => {
    transactions = await collect(stopAndCopy(device!));
  });
  return transactions;
}

/** The same bytes in pieces of this size: v2 keeps no bounds. */
function recut(transactions: readonly Transaction[], size: number): Transaction[] {
  return transactions.flatMap((transaction) => {
    const pieces: Transaction[] = [];
    for (let at = 0; at < transaction.data.length; at += size) {
      pieces.push({ ...transaction, data: transaction.data.slice(at, at + size) });
    }
    return pieces;
  });
}

describe("resume() by v2", () => {
  it("takes the bytes however they are cut", async () => {
    const transactions = await saved("mlx5?size=1MiB&seed=1");
    let checksum = 0;
    await withSim(["mlx5?size=1MiB&seed=1"], ({ sims }) => {
      checksum = sims[0]!.checksum();
      return Promise.resolve();
    });
    for (const size of [777, 4096, 1 << 20]) {
      await withSim(["mlx5?size=1MiB&seed=2"], async ({ devices: [to], sims }) => {
        await ReadableStream.from(recut(transactions, size)).pipeTo(resume(to!));
        assert.equal(sims[0]!.checksum(), checksum);
      });
    }
  });

  it("leaves the device stopped if asked", async () => {
    const transactions = await saved("hisi?size=64KiB");
    await withSim(["hisi?size=64KiB"], async ({ devices: [to] }) => {
      await ReadableStream.from(transactions).pipeTo(resume(to!, { leave: "stop" }));
      assert.equal(await stateOf(to!), "stop");
      assert.equal((await to!.setState("running")).state, "running");
    });
  });

  it("goes on after short writes and EAGAIN", async () => {
    const faults = "fault=short-write:1&fault=write:2:EAGAIN&fault=short-write:3";
    const specs = ["virtio?size=2MiB&seed=1", `virtio?size=2MiB&seed=2&${faults}`];
    await withSim(specs, async ({ devices: [from, to], sims }) => {
      await stopAndCopy(from!).pipeTo(resume(to!));
      assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
    });
  });

  for (const name of ALL) {
    it(`resets a device that was given less than all, and says so: sim:${name}`, async () => {
      const transactions = await saved(`${name}?size=1MiB&seed=1`);
      const cut = recut(transactions, 100_000).slice(0, -1);
      await withSim([`${name}?size=1MiB&seed=2`], async ({ devices: [to], sims }) => {
        const before = sims[0]!.checksum();
        await rejectsWith(ReadableStream.from(cut).pipeTo(resume(to!)), {
          code: "state-refused",
          errno: "EINVAL",
          deviceState: "running",
          recovery: "reset",
          message:
            /does not take the state \(EINVAL\), which may be cut short.*; the device was reset/,
        });
        assert.equal(sims[0]!.checksum(), before);
      });
    });
  }

  const INCOMPATIBLE = "takes the state for incompatible";
  const REFUSALS: readonly (readonly [
    from: string,
    to: string,
    errno: string,
    words: string,
    code: MigrationErrorCode,
  ])[] = [
    ["hisi?size=64KiB", "hisi?size=128KiB", "EFAULT", INCOMPATIBLE, "incompatible-state"],
    ["mlx5?size=64KiB", "mlx5?size=128KiB", "EINVAL", INCOMPATIBLE, "incompatible-state"],
    // What accepts the step to STOP in spite of the refusal must not run with half a state.
    ["mtty?size=64KiB", "mtty?size=128KiB", "EFAULT", INCOMPATIBLE, "incompatible-state"],
    ["mlx5", "mlx5?fault=write:1:ENOMEM", "ENOMEM", "is longer than", "state-too-long"],
    ["mlx5", "mlx5?fault=write:1:EOPNOTSUPP", "EOPNOTSUPP", "newer driver", "needs-newer-driver"],
    ["mlx5", "mlx5?fault=write:2:EIO", "EIO", "the driver takes no data", "io"],
  ];
  for (const [from, to, errno, words, code] of REFUSALS) {
    it(`resets sim:${to} when it refuses what sim:${from} gave, in words`, async () => {
      const transactions = await saved(from);
      await withSim([to], async ({ devices: [device], sims }) => {
        const before = sims[0]!.checksum();
        await rejectsWith(ReadableStream.from(transactions).pipeTo(resume(device!)), {
          code,
          errno,
          deviceState: "running",
          recovery: "reset",
          message: new RegExp(`${words}.*\\(${errno}`),
        });
        assert.equal(sims[0]!.checksum(), before);
      });
    });
  }

  it("resets a device that was given more than it takes", async () => {
    const transactions = await saved("qat?size=64KiB");
    const more = { ...transactions[0]!, data: new Uint8Array(100) };
    await withSim(["qat?size=64KiB"], async ({ devices: [to] }) => {
      await rejectsWith(ReadableStream.from([...transactions, more]).pipeTo(resume(to!)), {
        code: "state-too-long",
        errno: "ENOMEM",
        deviceState: "running",
        recovery: "reset",
        message: /longer than the driver takes \(ENOMEM\)/,
      });
    });
  });

  it("resets the device if an arc fails, and reports the state that was reached", async () => {
    const transactions = await saved("mlx5?size=64KiB");
    // RUNNING_P2P, STOP, RESUMING; then STOP, RUNNING_P2P, RUNNING.
    const expected: readonly (readonly [recovery: string, code: MigrationErrorCode])[] = [
      ["none", "transition-refused"],
      ["running", "transition-refused"],
      ["running", "transition-refused"],
      ["reset", "io"],
      // The state is in the device already, and must not run.
      ["reset", "transition-refused"],
      ["reset", "transition-refused"],
    ];
    for (const [index, [recovery, code]] of expected.entries()) {
      for (const errno of ["EIO", "ENODEV", "EBUSY"]) {
        const spec = `mlx5?size=64KiB&fault=transition:${index + 1}:${errno}`;
        await withSim([spec], async ({ devices: [to] }) => {
          await rejectsWith(ReadableStream.from(transactions).pipeTo(resume(to!)), {
            code,
            errno,
            deviceState: "running",
            recovery: recovery as "none",
          });
        });
      }
    }
  });

  it("says lost if the reset fails too", async () => {
    const transactions = await saved("mlx5?size=64KiB");
    const spec = "mlx5?size=64KiB&fault=write:1:EIO&fault=reset:1:EIO";
    await withSim([spec], async ({ devices: [to] }) => {
      await rejectsWith(ReadableStream.from(transactions).pipeTo(resume(to!)), {
        deviceState: "resuming",
        recovery: "failed",
        message: /could not be reset, and its state is resuming/,
      });
    });
  });

  it("says unknown when the device is gone in the middle", async () => {
    const transactions = await saved("mlx5?size=4MiB");
    await withSim(["mlx5?size=4MiB&fault=gone:2"], async ({ devices: [to] }) => {
      await rejectsWith(ReadableStream.from(transactions).pipeTo(resume(to!)), {
        errno: "ENODEV",
        deviceState: "unknown",
        recovery: "failed",
        message: /the device was reset or is gone \(ENODEV\)/,
      });
    });
  });

  it("resets the device when the writer aborts", async () => {
    const transactions = recut(await saved("mlx5?size=1MiB&seed=1"), 10_000);
    await withSim(["mlx5?size=1MiB&seed=2"], async ({ devices: [to], sims }) => {
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
    const transactions = await saved("mlx5?size=64KiB");
    await withSim(["mlx5?size=64KiB"], async ({ devices: [to] }) => {
      const writer = resume(to!).getWriter();
      await writer.write(transactions[0]!);
      await writer.abort(new Error("no more"));
      assert.equal(await stateOf(to!), "resuming");
      await to!.reset();
      assert.equal(await stateOf(to!), "running");
    }, { onError: "leave" });
  });

  it("takes what pre-copy gave, and nothing behind it, for less than all", async () => {
    await withSim(["virtio?size=1MiB&seed=1", "virtio?size=1MiB&seed=2"], async ({ devices }) => {
      const [from, to] = devices;
      await rejectsWith(precopy(from!).pipeTo(resume(to!)), {
        code: "state-refused",
        deviceState: "running",
        recovery: "reset",
      });
      await from!.recover();
    });
  });
});

describe("setState() by v2", () => {
  it("goes through every state and back, hop by hop, and leaks nothing", async () => {
    await withSim(["mlx5?size=64KiB"], async ({ devices: [device] }) => {
      const states = [
        "running-p2p",
        "stop",
        "stop-copy",
        "stop",
        "resuming",
        "running",
        "pre-copy",
        "pre-copy-p2p",
        "stop-and-copy",
        "running",
      ] as const;
      for (const state of states) {
        if (state === "running" && await stateOf(device!) === "resuming") {
          await device!.reset();
          continue;
        }
        const report = await device!.setState(state);
        assert.equal(report.protocol, "v2");
        assert.equal(report.state, state === "stop-and-copy" ? "stop-copy" : state);
      }
    });
  });

  it("is lost if its reset fails, unless it is running all the same", async () => {
    for (const state of ["running", "stop", "resuming"] as const) {
      await withSim(["mlx5?size=64KiB&fault=reset:1:EIO"], async ({ devices: [device] }) => {
        await device!.setState(state);
        await rejectsWith(device!.reset(), {
          code: "reset-failed",
          deviceState: state,
          lost: state !== "running",
        });
        await device!.reset();
      });
    }
  });

  it("refuses what no arc leads to, before the kernel is asked", async () => {
    await withSim(["mlx5?size=64KiB", "stop-copy-only"], async ({ devices: [device, plain] }) => {
      await device!.setState("stop-copy");
      await rejectsWith(device!.setState("pre-copy"), {
        code: "no-such-arc",
        deviceState: "stop-copy",
        recovery: "none",
      });
      const lacks = { "running-p2p": /P2P\)$/, "pre-copy": /state \(VFIO_MIGRATION_PRE_COPY\)$/ };
      for (const [state, message] of Object.entries(lacks)) {
        await rejectsWith(plain!.setState(state as "pre-copy"), { code: "no-such-arc", message });
      }
    });
  });

  it("is refused by the other protocol's devices", async () => {
    await withSim(["trapped?size=64KiB"], async ({ devices: [device] }) => {
      await rejectsWith(device!.setState("running-p2p"), { code: "no-such-state" });
      await rejectsWith(device!.setState("stop-copy"), { code: "no-such-state" });
    });
  });
});
