// The loops at the data fd, by a kernel that is made up call by call.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import { Fd } from "../../src/kernel/fd.ts";
import { FIONBIO, type Kernel, POLLIN } from "../../src/kernel/kernel.ts";
import { BatchBuilder } from "../../src/checkpoint/batches/batch_builder.ts";
import { V2Restore } from "../../src/migration/v2/v2_restore.ts";
import { V2Save, type V2SaveParts } from "../../src/migration/v2/v2_save.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import { precopy } from "../../src/migration/phases/precopy.ts";
import { resume } from "../../src/migration/phases/resume.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { DriverNotes } from "../../src/vfio/notes/driver_notes.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_SET,
  vfioDeviceFeature,
  vfioDeviceFeatureMigState,
  vfioPrecopyInfo,
} from "../../src/uapi/mod.ts";
import { napsOf, VirtualClock } from "../_virtual_clock.ts";
import { collect, rejectsWith } from "./_sim.ts";

const NO_LIMITS = { threshold: 0, downtimeMs: 0, maxRounds: Infinity, maxTimeMs: Infinity };

function notReady(): never {
  throw new SysError("fake", ERRNO.EAGAIN);
}

function counters(interrupted: boolean): V2SaveParts["counters"] {
  return {
    state: "running",
    pendingBytes: -1,
    bytes: 0,
    transactions: 0,
    interrupted,
    dataFd: null,
  };
}

/** A data fd that answers so. */
class DataFd implements Disposable {
  readonly kernel: Kernel;
  readonly fd: Fd;

  constructor(calls: Partial<Kernel>) {
    this.kernel = { close: () => {}, ...calls } as unknown as Kernel;
    this.fd = Fd.own(this.kernel, 3, "data fd");
  }

  [Symbol.dispose](): void {
    this.fd.close();
  }
}

function estimates(size: number | null): V2SaveParts["estimates"] {
  return { tellsReinit: false, dataSize: () => size };
}

function builder(length: number): BatchBuilder {
  return new BatchBuilder(new Uint8Array(new ArrayBuffer(length)));
}

describe("a driver that is not ready", () => {
  it("does not delay an interrupt", () => {
    using data = new DataFd({ read: notReady, write: notReady, poll: () => 0 });
    const { kernel, fd } = data;
    const save = new V2Save({
      kernel,
      fd,
      estimates: estimates(null),
      counters: counters(true),
      phase: "stop-and-copy",
      limits: NO_LIMITS,
      notes: new DriverNotes(),
    });
    assert.equal(save.fill(builder(1000)), false);
    const restore = new V2Restore(kernel, fd, counters(true), new DriverNotes());
    assert.throws(
      () => restore.load({ bytes: new Uint8Array(8), sizes: [8], more: false }),
      { code: "interrupted" },
    );
  });

  it("is not asked all the time, though poll says that it is ready", () => {
    let reads = 0;
    using data = new DataFd({
      read(): number {
        reads += 1;
        return reads < 8 ? notReady() : 0;
      },
      poll: () => POLLIN,
    });
    const { kernel, fd } = data;
    const save = new V2Save({
      kernel,
      fd,
      estimates: estimates(null),
      counters: counters(false),
      phase: "stop-and-copy",
      limits: NO_LIMITS,
      notes: new DriverNotes(),
    });
    const naps = napsOf(() => {
      while (!save.fill(builder(1000)));
    });
    // After a first try at once.
    assert.deepEqual(naps, [1, 2, 4, 8, 16, 32]);
    assert.equal(reads, 8);
  });

  it("is waited for in pre-copy for a while only", () => {
    using clock = new VirtualClock();
    using data = new DataFd({
      ioctl(_fd, _request, arg): number {
        const info = { initial_bytes: 88n, dirty_bytes: 0n };
        vfioPrecopyInfo.pack(info, arg as Uint8Array<ArrayBuffer>);
        return 0;
      },
      read: notReady,
      poll(_fd, _events, timeoutMs): number {
        clock.pass(timeoutMs);
        return 0;
      },
    });
    const { kernel, fd } = data;
    const notes = new DriverNotes();
    const save = new V2Save({
      kernel,
      fd,
      estimates: estimates(null),
      counters: counters(false),
      phase: "pre-copy",
      limits: NO_LIMITS,
      notes,
    });
    let batches = 1;
    while (!save.fill(builder(1000))) batches += 1;
    assert.ok(batches > 1 && clock.ms > 5000, `${batches} batches, ${clock.ms} ms`);
    assert.deepEqual(notes.list().map(({ code, count }) => [code, count]), [[
      "precopy-stalled",
      1,
    ]]);
  });

  it("is set to O_NONBLOCK before it is first read", async () => {
    const sim = new SimKernel("mlx5?size=64KiB");
    const calls: string[] = [];
    const kernel: Kernel = new Proxy(sim, {
      get(target, key): unknown {
        const value = Reflect.get(target, key);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          if (key === "ioctl" && args[1] === FIONBIO) calls.push("FIONBIO");
          if (key === "read") calls.push("read");
          return value.apply(target, args);
        };
      },
    });
    await using device = await openDevice(sim.devices[0]!.path, { kernel });
    await collect(stopAndCopy(device));
    assert.deepEqual(calls.slice(0, 2), ["FIONBIO", "read"]);
  });
});

describe("a driver that gives no data fd", () => {
  /** Lends a device whose steps succeed, and come with -1. */
  async function withoutDataFd(test: (device: Device) => Promise<void>): Promise<void> {
    const sim = new SimKernel("mlx5?size=64KiB");
    const ioctl: Kernel["ioctl"] = (fd, request, arg) => {
      const result = sim.ioctl(fd, request, arg);
      if (request !== VFIO_DEVICE_FEATURE || !(arg instanceof Uint8Array)) return result;
      const { flags } = vfioDeviceFeature.unpack(arg);
      if (flags !== (VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE)) return result;
      const answer = vfioDeviceFeatureMigState.unpack(arg, vfioDeviceFeature.size);
      if (answer.data_fd >= 0) sim.close(answer.data_fd);
      vfioDeviceFeatureMigState.pack({ ...answer, data_fd: -1 }, arg, vfioDeviceFeature.size);
      return result;
    };
    const kernel = new Proxy<Kernel>(sim, {
      get(target, key): unknown {
        if (key === "ioctl") return ioctl;
        const value = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    await using device = await openDevice(sim.devices[0]!.path, { kernel });
    await test(device);
  }

  const phases: Readonly<Record<string, (device: Device) => Promise<unknown>>> = {
    "pre-copy": (device) => collect(precopy(device)),
    "stop-and-copy": (device) => collect(stopAndCopy(device)),
    "resuming": (device) => resume(device).getWriter().close(),
  };
  for (const [phase, run] of Object.entries(phases)) {
    it(`is brought back from ${phase}`, () =>
      withoutDataFd(async (device) => {
        await rejectsWith(run(device), {
          code: "no-data-fd",
          deviceState: "running",
          message: new RegExp(`Cannot enter ${phase}: the driver gave no data fd`),
        });
        assert.equal((await device.state()).state, "running");
      }));
  }
});

describe("pre-copy with a downtime", () => {
  /** A driver that always has a thousand bytes, and fewer dirty ones at each look. */
  function busy(): DataFd {
    let looks = 0;
    return new DataFd({
      ioctl(_fd, _request, arg): number {
        const dirty = BigInt(1_000_000 - looks++);
        vfioPrecopyInfo.pack(
          { initial_bytes: 0n, dirty_bytes: dirty },
          arg as Uint8Array<ArrayBuffer>,
        );
        return 0;
      },
      read: () => 1000,
    });
  }

  function ends(estimate: number | null): boolean {
    using data = busy();
    const limits = { ...NO_LIMITS, downtimeMs: 3_600_000 };
    const { kernel, fd } = data;
    return new V2Save({
      kernel,
      fd,
      estimates: estimates(estimate),
      counters: counters(false),
      phase: "pre-copy",
      limits,
      notes: new DriverNotes(),
    })
      .fill(builder(1 << 20));
  }

  it("ends if what is dirty is read in time", () => {
    assert.equal(ends(null), true);
  });

  it("goes on if the driver keeps more than that for STOP_COPY", () => {
    assert.equal(ends(2 ** 60), false);
  });
});
