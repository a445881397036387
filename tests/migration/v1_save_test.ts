import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { precopy } from "../../src/migration/phases/precopy.ts";
import { resume } from "../../src/migration/phases/resume.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { openDevice } from "../../src/migration/device.ts";
import { bytesOf, collect, rejectsWith, stateOf, withSim } from "./_sim.ts";

const MIB = 1 << 20;

describe("stopAndCopy()", () => {
  for (const personality of ["trapped", "mapped", "partitioned", "ice", "nvidia-vgpu"]) {
    it(`reads everything from sim:${personality} and leaves it stopped`, async () => {
      const specs = [`${personality}?size=3MiB&seed=1`, `${personality}?size=3MiB&seed=2`];
      await withSim(specs, async ({ devices: [from, to], sims }) => {
        assert.notEqual(sims[0]!.checksum(), sims[1]!.checksum());
        await stopAndCopy(from!).pipeTo(resume(to!));
        assert.equal(await stateOf(from!), "stop");
        assert.equal(await stateOf(to!), "running");
        assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
        assert.equal(from!.progress().bytes, to!.progress().bytes);
        assert.equal(from!.progress().transactions, to!.progress().transactions);
      });
    });
  }

  it("keeps the reserved bits of device_state", async () => {
    await withSim(["trapped?size=64KiB&reserved=0x12345678"], async ({ devices: [device] }) => {
      assert.equal((await device!.state()).raw, 0x12345679);
      await collect(stopAndCopy(device!));
      assert.equal((await device!.state()).raw, 0x12345678);
    });
  });

  it("cuts transactions larger than a batch, and a restore puts them together", async () => {
    const specs = ["trapped?size=8MiB&seed=1&chunk=3MiB", "trapped?size=8MiB&seed=2&chunk=3MiB"];
    await withSim(specs, async ({ devices: [from, to], sims }) => {
      const transactions = await collect(stopAndCopy(from!));
      assert.ok(transactions.some(({ more }) => more));
      assert.ok(transactions.every(({ data }) => data.length <= MIB));
      assert.equal(transactions.at(-1)!.more, false);
      const writer = resume(to!).getWriter();
      for (const transaction of transactions) await writer.write(transaction);
      await writer.close();
      assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
    });
  });

  it("packs small transactions into batches without changing their bounds", async () => {
    await withSim(["trapped?size=1MiB&chunk=4KiB"], async ({ devices: [device] }) => {
      const buffers = new Set<ArrayBuffer>();
      let transactions = 0;
      for await (const { data, more } of stopAndCopy(device!)) {
        buffers.add(data.buffer);
        transactions += 1;
        assert.equal(more, false);
        assert.ok(data.length <= 4096 + 64);
      }
      assert.ok(transactions >= 256);
      assert.ok(buffers.size <= 4);
      assert.equal(device!.progress().transactions, transactions);
    });
  });

  it("goes on after a short read", async () => {
    const specs = ["trapped?size=2MiB&seed=1&fault=short-read:1", "trapped?size=2MiB&seed=2"];
    await withSim(specs, async ({ devices: [from, to], sims }) => {
      await stopAndCopy(from!).pipeTo(resume(to!));
      assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
    });
  });

  it("falls back to pread if mmap fails", async () => {
    const specs = ["mapped?size=2MiB&seed=1&fault=mmap:EINVAL", "mapped?size=2MiB&seed=2"];
    await withSim(specs, async ({ devices: [from, to], sims }) => {
      await stopAndCopy(from!).pipeTo(resume(to!));
      assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
    });
  });

  it("asks again if data_size is 0 with data pending, and gives up in the end", async () => {
    await withSim(["trapped?size=64KiB&fault=data-size-zero:3"], async ({ devices: [device] }) => {
      assert.ok(bytesOf(await collect(stopAndCopy(device!))) >= 65536);
    });
    await withSim(["trapped?size=64KiB&fault=data-size-zero:always"], async ({ devices: [d] }) => {
      await rejectsWith(collect(stopAndCopy(d!)), {
        code: "data-size-zero",
        deviceState: "running",
        recovery: "running",
        message: /data_size 0 in 16 iterations with \d+ bytes pending; the device is running again/,
      });
    });
  });

  for (
    const [fault, code, message] of [
      ["offset-zero", "data-offset", /data_offset 0/],
      ["lie-offset", "data-bounds", /outside its region/],
      ["lie-size", "data-bounds", /outside its region/],
      ["lie-wrap", "data-bounds", /outside its region .*, data_size 0xfffffffffffff000, region/],
      ["stuck", "no-progress", /pending_bytes stays/],
    ] as const
  ) {
    it(`refuses a driver with fault=${fault} before it touches memory`, async () => {
      await withSim([`mapped?size=64KiB&fault=${fault}`], async ({ devices: [device] }) => {
        await rejectsWith(collect(stopAndCopy(device!)), {
          code,
          message,
          deviceState: "running",
          recovery: "running",
        });
        assert.equal(await stateOf(device!), "running");
      });
    });
  }

  it("brings the device back to running when a read fails", async () => {
    await withSim(["trapped?size=4MiB&fault=read:2:EFAULT"], async ({ devices: [device] }) => {
      await rejectsWith(collect(stopAndCopy(device!)), {
        code: "io",
        errno: "EFAULT",
        deviceState: "running",
        recovery: "running",
      });
    });
  });

  it("brings the device back to running when the reader cancels", async () => {
    await withSim(["trapped?size=16MiB"], async ({ devices: [device] }) => {
      for await (const _ of stopAndCopy(device!)) break;
      assert.equal(await stateOf(device!), "running");
    });
  });

  it("reports a refused transition, with the device where it was", async () => {
    await withSim(
      ["trapped?size=64KiB&fault=transition:1:EBUSY"],
      async ({ devices: [device] }) => {
        await rejectsWith(collect(stopAndCopy(device!)), {
          code: "transition-refused",
          errno: "EBUSY",
          deviceState: "running",
          recovery: "none",
          message: /from running \(001b\) to stop-and-copy \(010b\): EBUSY/,
        });
      },
    );
  });

  it("goes back through stop if the direct arc is refused", async () => {
    const spec = "trapped?size=4MiB&fault=read:2:EIO&fault=transition:2:EINVAL";
    await withSim([spec], async ({ devices: [device] }) => {
      await rejectsWith(collect(stopAndCopy(device!)), {
        deviceState: "running",
        recovery: "running",
      });
    });
  });

  it("resets a device that went into ERROR, and says so", async () => {
    await withSim(["trapped?size=64KiB&fault=error-state:1"], async ({ devices: [device] }) => {
      await rejectsWith(collect(stopAndCopy(device!)), {
        code: "transition-refused",
        errno: "EIO",
        deviceState: "running",
        recovery: "reset",
        message: /was reset and is running/,
      });
    });
  });

  it("leaves a device in ERROR if asked", async () => {
    await withSim(["trapped?size=64KiB&fault=error-state:1"], async ({ devices: [device] }) => {
      await rejectsWith(collect(stopAndCopy(device!)), {
        deviceState: "error",
        recovery: "none",
        message: /the device's state is error/,
      });
      assert.equal(await stateOf(device!), "error");
      assert.equal((await device!.reset())!.state, "running");
    }, { onError: "leave" });
  });

  it("says so when even the reset fails", async () => {
    const spec = "trapped?size=64KiB&fault=error-state:1&fault=reset:1:EIO";
    await withSim([spec], async ({ devices: [device] }) => {
      await rejectsWith(collect(stopAndCopy(device!)), {
        deviceState: "error",
        recovery: "failed",
        message: /could not be reset, and its state is error/,
      });
    });
  });

  it("says unknown when the device is gone in the middle", async () => {
    await withSim(["trapped?size=4MiB&fault=gone:2"], async ({ devices: [device] }) => {
      await rejectsWith(collect(stopAndCopy(device!)), {
        errno: "ENODEV",
        deviceState: "unknown",
        recovery: "failed",
      });
    });
  });

  it("refuses a device that is resuming, and touches nothing", async () => {
    await withSim(["trapped?size=64KiB"], async ({ devices: [device] }) => {
      await device!.setState("resuming");
      await rejectsWith(collect(stopAndCopy(device!)), {
        code: "wrong-state",
        deviceState: "resuming",
        recovery: "none",
      });
      await device!.recover();
      assert.equal(await stateOf(device!), "running");
    });
  });
});

describe("precopy()", () => {
  it("leaves the device in pre-copy, with nothing pending if nothing changes", async () => {
    await withSim(["trapped?size=1MiB"], async ({ devices: [device] }) => {
      const transactions = await collect(precopy(device!));
      assert.ok(bytesOf(transactions) >= MIB);
      assert.ok(transactions.every(({ phase }) => phase === "pre-copy"));
      assert.equal(await stateOf(device!), "pre-copy");
      assert.equal(device!.progress().pendingBytes, 0);
      await device!.recover();
    });
  });

  it("ends if stop-and-copy will not take longer than the downtime", async () => {
    await withSim(["mapped?size=4MiB"], async ({ devices: [device] }) => {
      const read = bytesOf(await collect(precopy(device!, { downtimeMs: 3_600_000 })));
      assert.ok(read > 0 && read < 4 * MIB, String(read));
      await device!.recover();
      // Too short for anything: to the end.
      assert.ok(bytesOf(await collect(precopy(device!, { downtimeMs: 1e-9 }))) >= 4 * MIB);
      await device!.recover();
    });
  });

  it("ends below the threshold, with that much left for stop-and-copy", async () => {
    await withSim(["trapped?size=4MiB&chunk=64KiB"], async ({ devices: [device] }) => {
      const before = await collect(precopy(device!, { threshold: MIB }));
      const left = device!.progress().pendingBytes!;
      assert.ok(left > 0 && left <= MIB, String(left));
      const after = await collect(stopAndCopy(device!));
      assert.ok(bytesOf(before) + bytesOf(after) >= 4 * MIB);
      assert.ok(bytesOf(after) >= left);
    });
  });

  it("ends after two rounds that did not shrink what is pending, if the device outruns it", async () => {
    let now = 0;
    // Time passes with each look at the clock: the device changes as fast as it is read.
    const kernel = SimKernel.withClock(() => now += 1, "trapped?size=1MiB&rate=1GiB&chunk=64KiB");
    await using device = await openDevice(kernel.devices[0]!.path, { kernel });
    const transactions = await collect(precopy(device));
    assert.ok(device.progress().pendingBytes! > 0);
    assert.ok(bytesOf(transactions) <= 8 * MIB, `${bytesOf(transactions)} bytes`);
    await collect(stopAndCopy(device));
    assert.deepEqual(kernel.devices[0]!.violations, []);
  });

  it("ends at max-rounds", async () => {
    let now = 0;
    const kernel = SimKernel.withClock(() => now += 1, "trapped?size=1MiB&rate=1GiB&chunk=64KiB");
    await using device = await openDevice(kernel.devices[0]!.path, { kernel });
    const one = bytesOf(await collect(precopy(device, { maxRounds: 1 })));
    assert.ok(one >= MIB && one <= 2 * MIB, `${one} bytes`);
    await device.recover();
  });

  it("ends at once if no time is given", async () => {
    await withSim(["trapped?size=1MiB"], async ({ devices: [device] }) => {
      assert.equal(bytesOf(await collect(precopy(device!, { maxTimeMs: 0 }))), 0);
      assert.equal(await stateOf(device!), "pre-copy");
      await device!.recover();
      assert.equal(await stateOf(device!), "running");
    });
  });

  it("saves a device that changes all the while, and the copy is the device at its stop", async () => {
    const specs = [
      "mapped?size=4MiB&seed=1&rate=64MiB&chunk=64KiB",
      "mapped?size=4MiB&seed=2&chunk=64KiB",
    ];
    await withSim(specs, async ({ devices: [from, to], sims }) => {
      const sink = resume(to!);
      await precopy(from!).pipeTo(sink, { preventClose: true });
      await stopAndCopy(from!).pipeTo(sink);
      // The copy runs, and its rate is 0: it stays as it was received.
      assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
    });
  });

  it("brings the device back to running when the reader cancels", async () => {
    await withSim(["trapped?size=16MiB"], async ({ devices: [device] }) => {
      for await (const _ of precopy(device!)) break;
      assert.equal(await stateOf(device!), "running");
    });
  });

  it("brings the device back to running when a read fails", async () => {
    await withSim(["trapped?size=4MiB&fault=read:3:EIO"], async ({ devices: [device] }) => {
      await rejectsWith(collect(precopy(device!)), {
        errno: "EIO",
        deviceState: "running",
        recovery: "running",
      });
    });
  });
});
