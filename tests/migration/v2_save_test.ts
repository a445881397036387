import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openDevice } from "../../src/migration/device.ts";
import { precopy } from "../../src/migration/phases/precopy.ts";
import { resume } from "../../src/migration/phases/resume.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";
import type { Transaction } from "../../src/checkpoint/batches/transaction.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { VirtualClock } from "../_virtual_clock.ts";
import { bytesOf, collect, rejectsWith, stateOf, withSim } from "./_sim.ts";

const MIB = 1 << 20;
const ALL = ["mlx5", "virtio", "qat", "hisi", "mtty", "pds", "stop-copy-only"];
const PRE_COPY = ["mlx5", "virtio", "qat", "hisi", "mtty"];
/** Those whose pre-copy yields the state itself. */
const IMAGES = ["mlx5", "virtio"];

describe("stopAndCopy() by v2", () => {
  for (const name of ALL) {
    it(`reads everything from sim:${name} and leaves it stopped`, async () => {
      const specs = [`${name}?size=3MiB&seed=1`, `${name}?size=3MiB&seed=2&chunk=100000`];
      await withSim(specs, async ({ devices: [from, to], sims }) => {
        assert.notEqual(sims[0]!.checksum(), sims[1]!.checksum());
        await stopAndCopy(from!).pipeTo(resume(to!));
        assert.equal(await stateOf(from!), "stop");
        assert.equal(await stateOf(to!), "running");
        assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
        assert.equal(from!.progress().bytes, to!.progress().bytes);
      });
    });
  }

  it("says how the device is described", async () => {
    await withSim(["hisi", "mtty"], ({ devices }) => {
      const described = devices.map(({ description }) => {
        const { protocol, dataSection, quirk, identity } = description;
        return [protocol, dataSection, quirk, identity!.bus, identity!.driver, identity!.region];
      });
      assert.deepEqual(described, [
        ["v2", null, null, "pci", "hisi_acc_vfio_pci", null],
        ["v2", null, null, "mdev", "vfio_mtty", null],
      ]);
      return Promise.resolve();
    });
  });

  it("reads by the MiB, whatever the driver's records are", async () => {
    await withSim(["mlx5?size=8MiB&chunk=10000"], async ({ devices: [device] }) => {
      const transactions = await collect(stopAndCopy(device!));
      assert.ok(transactions.length <= 10, String(transactions.length));
      assert.ok(transactions.every(({ more }) => !more));
    });
  });

  it("goes on after short reads and EAGAIN", async () => {
    const faults = "fault=short-read:1&fault=read:2:EAGAIN&fault=short-read:3&fault=read:4:EAGAIN";
    const specs = [`mlx5?size=2MiB&seed=1&${faults}`, "mlx5?size=2MiB&seed=2"];
    await withSim(specs, async ({ devices: [from, to], sims }) => {
      await stopAndCopy(from!).pipeTo(resume(to!));
      assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
    });
  });

  it("reports by MIG_DATA_SIZE what is to come, and nothing if that is unknown", async () => {
    const pending = async (spec: string): Promise<number | null> => {
      let first: number | null = -1;
      await withSim([spec], async ({ devices: [device] }) => {
        const reader = stopAndCopy(device!).getReader();
        const { value } = await reader.read();
        first = device!.progress().pendingBytes;
        if (first !== null) first += value!.data.length * 0;
        await reader.cancel();
      });
      return first;
    };
    const known = (await pending("mlx5?size=16MiB"))!;
    assert.ok(known > 8 * MIB && known < 16 * MIB, String(known));
    assert.equal(await pending("mlx5?size=16MiB&fault=data-size-zero:always"), null);
    assert.equal(await pending("stop-copy-only?size=16MiB"), null);
  });

  it("brings the device back to running when a read fails", async () => {
    for (const errno of ["EIO", "ENOMSG", "EINVAL"]) {
      await withSim([`mlx5?size=4MiB&fault=read:2:${errno}`], async ({ devices: [device] }) => {
        await rejectsWith(collect(stopAndCopy(device!)), {
          code: "io",
          errno,
          deviceState: "running",
          recovery: "running",
          message: /the device is running again/,
        });
        assert.equal(await stateOf(device!), "running");
      });
    }
  });

  it("brings the device back to running when the reader cancels", async () => {
    for (const name of ALL) {
      await withSim([`${name}?size=16MiB`], async ({ devices: [device] }) => {
        for await (const _ of stopAndCopy(device!)) break;
        assert.equal(await stateOf(device!), "running");
      });
    }
  });

  it("says unknown when the device is gone in the middle", async () => {
    await withSim(["mlx5?size=8MiB&fault=gone:3"], async ({ devices: [device] }) => {
      await rejectsWith(collect(stopAndCopy(device!)), {
        errno: "ENODEV",
        deviceState: "unknown",
        recovery: "failed",
      });
    });
  });

  it("fails if the data fd is closed by other code, and brings the device back", async () => {
    const kernel = new SimKernel("mlx5?size=16MiB");
    await using device = await openDevice(kernel.devices[0]!.path, { kernel });
    await device.setState("stop-and-copy");
    const label = kernel.openObjects.find((open) => open.includes("save fd"))!;
    await device.setState("running");
    const reader = stopAndCopy(device).getReader();
    await reader.read();
    kernel.close(Number(/^fd (\d+)/.exec(label)![1]));
    // EBADF from reading, and from closing what is closed: neither hides the other.
    await rejectsWith(
      (async () => {
        while (!(await reader.read()).done);
      })(),
      { errno: "EBADF", deviceState: "running" },
    );
    assert.equal(await stateOf(device), "running");
  });

  it("refuses a device that is resuming, and touches nothing", async () => {
    await withSim(["mlx5?size=64KiB"], async ({ devices: [device] }) => {
      await device!.setState("resuming");
      await rejectsWith(collect(stopAndCopy(device!)), {
        code: "wrong-state",
        deviceState: "resuming",
        recovery: "none",
      });
      assert.equal(await device!.recover(), "reset");
      assert.equal(await stateOf(device!), "running");
    });
  });
});

describe("an arc that fails while saving by v2", () => {
  for (const name of ["mlx5", "hisi", "pds", "stop-copy-only"]) {
    for (const errno of ["EIO", "ENODEV", "EBUSY"]) {
      it(`is reported with the state that was reached, each arc of sim:${name}, ${errno}`, async () => {
        // Up to STOP: RUNNING_P2P, STOP, STOP_COPY, STOP, of which some devices have fewer.
        const arcs = name === "mlx5" || name === "pds" ? 4 : 3;
        for (let n = 1; n <= arcs + 1; n += 1) {
          const spec = `${name}?size=64KiB&fault=transition:${n}:${errno}`;
          await withSim([spec], async ({ devices: [device] }) => {
            if (n > arcs) {
              await collect(stopAndCopy(device!));
              return;
            }
            await rejectsWith(collect(stopAndCopy(device!)), {
              code: "transition-refused",
              errno,
              deviceState: "running",
              recovery: n === 1 ? "none" : "running",
              message: n === 1
                ? /^Cannot go from running to [a-z0-9-]+ \(towards stop-copy\): .*still in running/
                : n === arcs
                ? /^Cannot go from stop-copy to stop: .*; the device is running again/
                : /; the device is running again/,
            });
            assert.equal(await stateOf(device!), "running");
          });
        }
      });
    }
  }

  it("is followed by a reset if the way back is refused too", async () => {
    const spec = "mlx5?size=64KiB&fault=transition:3:EIO&fault=transition:4:EIO";
    await withSim([spec], async ({ devices: [device] }) => {
      await rejectsWith(collect(stopAndCopy(device!)), {
        errno: "EIO",
        deviceState: "running",
        recovery: "reset",
        message: /was reset and is running/,
      });
    });
  });

  it("is followed by a reset if it led to ERROR, at once or late", async () => {
    for (const fault of ["error-state:2", "late-error:2"]) {
      await withSim([`mlx5?size=64KiB&fault=${fault}`], async ({ devices: [device] }) => {
        await rejectsWith(collect(stopAndCopy(device!)), {
          code: fault.startsWith("late") ? "transition-ignored" : "transition-refused",
          deviceState: "running",
          recovery: "reset",
        });
      });
    }
  });

  it("leaves the device in ERROR if asked", async () => {
    await withSim(["mlx5?size=64KiB&fault=error-state:2"], async ({ devices: [device] }) => {
      await rejectsWith(collect(stopAndCopy(device!)), {
        deviceState: "error",
        recovery: "none",
        message: /the device's state is error/,
      });
      assert.equal((await device!.reset())!.state, "running");
    }, { onError: "leave" });
  });

  it("is reported as lost if even the reset fails", async () => {
    const spec = "mlx5?size=64KiB&fault=error-state:2&fault=reset:1:EIO";
    await withSim([spec], async ({ devices: [device] }) => {
      await rejectsWith(collect(stopAndCopy(device!)), {
        deviceState: "error",
        recovery: "failed",
        message: /could not be reset, and its state is error/,
      });
    });
  });
});

describe("precopy() by v2", () => {
  for (const name of PRE_COPY) {
    it(`and stopAndCopy() save sim:${name} while it changes`, async () => {
      const specs = [`${name}?size=4MiB&seed=1&rate=64MiB`, `${name}?size=4MiB&seed=2`];
      await withSim(specs, async ({ devices: [from, to], sims }) => {
        const sink = resume(to!);
        await precopy(from!).pipeTo(sink, { preventClose: true });
        assert.equal(await stateOf(from!), "pre-copy");
        await stopAndCopy(from!).pipeTo(sink);
        assert.equal(await stateOf(from!), "stop");
        assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
      });
    });

    it(`ends with nothing left if nothing changes: sim:${name}`, async () => {
      await withSim([`${name}?size=1MiB`], async ({ devices: [device] }) => {
        const transactions = await collect(precopy(device!));
        assert.ok(transactions.every(({ phase }) => phase === "pre-copy"));
        const images = IMAGES.includes(name);
        const bytes = bytesOf(transactions);
        assert.ok(images ? bytes >= MIB : bytes === 40, String(bytes));
        assert.equal(device!.progress().pendingBytes, 0);
        const rest = bytesOf(await collect(stopAndCopy(device!)));
        assert.ok(images ? rest < 1000 : rest >= MIB, String(rest));
      });
    });
  }

  it("is refused by devices without it, before anything is touched", async () => {
    for (const name of ["pds", "stop-copy-only"]) {
      await withSim([name], async ({ devices: [device] }) => {
        await rejectsWith(collect(precopy(device!)), {
          code: "no-precopy",
          deviceState: "running",
          recovery: "none",
          message: /VFIO_MIGRATION_PRE_COPY/,
        });
      });
    }
  });

  it("ends below the threshold, or if what is left does not get less", async () => {
    let now = 0;
    // Time passes with each look at the clock: the device changes as fast as it is read.
    const kernel = SimKernel.withClock(() => now += 1, "mlx5?size=4MiB&rate=256MiB");
    await using device = await openDevice(kernel.devices[0]!.path, { kernel });
    const below = bytesOf(await collect(precopy(device, { threshold: 4 * MIB })));
    const left = device.progress().pendingBytes!;
    assert.ok(left > 0 && left <= 4 * MIB, String(left));
    await device.recover();
    const stale = bytesOf(await collect(precopy(device)));
    assert.ok(device.progress().pendingBytes! > 0);
    assert.ok(below >= 4 * MIB && below < 4.1 * MIB, String(below));
    assert.ok(stale > below + MIB && stale < 40 * MIB, String(stale));
    await collect(stopAndCopy(device));
    assert.deepEqual(kernel.devices[0]!.violations, []);
  });

  it("ends if the device never drains", async () => {
    await withSim(["mlx5?size=1MiB&fault=never-drains"], async ({ devices: [device] }) => {
      const bytes = bytesOf(await collect(precopy(device!)));
      assert.ok(bytes >= 2 * MIB && bytes < 8 * MIB, `${bytes} bytes`);
      assert.equal(await stateOf(device!), "pre-copy");
      await device!.recover();
    });
  });

  it("ends at max-rounds and at max-time", async () => {
    await withSim(["mlx5?size=1MiB&fault=never-drains"], async ({ devices: [device] }) => {
      const one = bytesOf(await collect(precopy(device!, { maxRounds: 1 })));
      assert.ok(one <= 3 * MIB, `${one} bytes`);
      await device!.recover();
      assert.equal(bytesOf(await collect(precopy(device!, { maxTimeMs: 0 }))), 0);
      await device!.recover();
      assert.equal(await stateOf(device!), "running");
    });
  });

  it("ends after some patience if initial bytes are promised and never come", async () => {
    for (const name of ["virtio", "hisi"]) {
      const spec = `${name}?size=64KiB&fault=initial-never-zero`;
      await withSim([spec], async ({ devices: [device] }) => {
        {
          using clock = new VirtualClock();
          await collect(precopy(device!));
          assert.ok(clock.ms >= 1000 && clock.ms < 1100, `${clock.ms} ms`);
        }
        await collect(stopAndCopy(device!));
      });
    }
  });

  it("ends if the driver does not report what is left", async () => {
    await withSim(["mlx5?size=1MiB&fault=precopy-info:1:EIO"], async ({ devices: [device] }) => {
      await collect(precopy(device!));
      assert.equal(await stateOf(device!), "pre-copy");
      assert.ok(bytesOf(await collect(stopAndCopy(device!))) >= MIB);
    });
  });

  it("brings the device back to running when a read fails, or the reader cancels", async () => {
    await withSim(["mlx5?size=8MiB&fault=read:3:EIO"], async ({ devices: [device] }) => {
      await rejectsWith(collect(precopy(device!)), {
        code: "io",
        errno: "EIO",
        deviceState: "running",
        recovery: "running",
      });
    });
    for (const name of IMAGES) {
      await withSim([`${name}?size=16MiB`], async ({ devices: [device] }) => {
        for await (const _ of precopy(device!)) break;
        assert.equal(await stateOf(device!), "running");
      });
    }
  });

  it("can be cancelled between the phases, and in the second one", async () => {
    await withSim(["mlx5?size=16MiB&rate=64MiB"], async ({ devices: [device] }) => {
      await collect(precopy(device!, { maxRounds: 1 }));
      assert.equal(await device!.recover(), "running");
      await collect(precopy(device!, { maxRounds: 1 }));
      for await (const _ of stopAndCopy(device!)) break;
      assert.equal(await stateOf(device!), "running");
    });
  });

  it("is reported with the state reached if an arc on the way to STOP_COPY fails", async () => {
    // RUNNING to PRE_COPY, PRE_COPY_P2P, STOP_COPY.
    for (const n of [1, 2, 3]) {
      const spec = `mlx5?size=64KiB&fault=transition:${n}:EBUSY`;
      await withSim([spec], async ({ devices: [device] }) => {
        const both = async (): Promise<Transaction[]> => [
          ...await collect(precopy(device!)),
          ...await collect(stopAndCopy(device!)),
        ];
        await rejectsWith(both(), {
          errno: "EBUSY",
          deviceState: "running",
          recovery: n === 1 ? "none" : "running",
        });
      });
    }
  });

  it("is not continued if another process holds its data", async () => {
    const kernel = new SimKernel("mlx5?size=64KiB");
    await using owner = await openDevice(kernel.devices[0]!.path, { kernel });
    await owner.setState("pre-copy");
    await using guest = await openDevice(`fd:${owner.description.fds.device}`, { kernel });
    await rejectsWith(collect(stopAndCopy(guest)), {
      code: "no-data-fd",
      deviceState: "pre-copy",
      recovery: "none",
      message: /data fd/,
    });
    await owner.recover();
  });
});
