import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Fd } from "../../src/kernel/fd.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { type Device, openDevice, type OpenOptions } from "../../src/migration/device.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { parseDeviceName } from "../../src/vfio/open/device_name.ts";
import { openVfioDevice } from "../../src/vfio/open/open.ts";
import { VFIO_DEVICE_RESET } from "../../src/uapi/mod.ts";
import { VirtualClock } from "../_virtual_clock.ts";
import { rejectsWith, withSim } from "./_sim.ts";

const KINDS = ["trapped", "mapped", "mlx5", "stop-copy-only"] as const;

/** So many resets in a row that are EAGAIN. */
function busyResets(count: number): string {
  return Array.from({ length: count }, (_, index) => `&fault=reset:${index + 1}:EAGAIN`).join("");
}

describe("a reset that is EAGAIN", () => {
  for (const kind of [...KINDS, "none", "vfio-pci"]) {
    it(`is tried again, ${kind}`, async () => {
      await withSim([`${kind}?size=64KiB${busyResets(4)}`], async ({ devices: [device] }) => {
        await device!.reset();
      });
    });
  }

  it("is tried again during a recovery", async () => {
    await withSim(
      [`mlx5?size=64KiB&fault=error-state:1${busyResets(4)}`],
      ({ devices: [device] }) =>
        rejectsWith(device!.setState("stop"), { recovery: "reset", deviceState: "running" }),
    );
  });

  it("is given up after a while", async () => {
    await withSim([`trapped?size=64KiB${busyResets(200)}`], async ({ devices: [device] }) => {
      using clock = new VirtualClock();
      await rejectsWith(device!.reset(), {
        code: "reset-failed",
        errno: "EAGAIN",
        deviceState: "running",
        lost: false,
      });
      assert.ok(clock.ms >= 2000 && clock.ms < 2100, `${clock.ms} ms`);
    });
  });

  it("is given up at once if the caller aborts it", async () => {
    const sim = new SimKernel(`trapped?size=64KiB${busyResets(200)}`);
    const abort = new AbortController();
    let resets = 0;
    const kernel: Kernel = new Proxy<Kernel>(sim, {
      get(target, key): unknown {
        const value = Reflect.get(target, key, target);
        if (typeof value !== "function") return value;
        return (...args: readonly unknown[]) => {
          if (key === "ioctl" && args[1] === VFIO_DEVICE_RESET && ++resets === 3) abort.abort();
          return value.apply(target, args);
        };
      },
    });
    await using device = await openDevice(sim.devices[0]!.path, { kernel });
    await rejectsWith(device.reset({ signal: abort.signal }), { errno: "EAGAIN" });
    assert.equal(resets, 3);
  });
});

/** Fails so that the device is in ERROR, and its resets change nothing. */
async function ignored(device: Device, expected: Parameters<typeof rejectsWith>[1]): Promise<void> {
  await rejectsWith(device.setState("stop"), { code: "transition-refused", ...expected });
}

const FAULTS = "fault=error-state:1&fault=reset-ignored:always";

describe("a reset that is accepted and changes nothing", () => {
  for (const kind of KINDS) {
    for (const query of ["", "&cdev=1"]) {
      const how = query === "" ? "group" : "cdev";
      it(`is followed by closing and opening again, ${kind} by its ${how}`, async () => {
        const spec = `${kind}?size=64KiB&${FAULTS}${query}`;
        await withSim([spec], async ({ devices: [device], sims: [sim] }) => {
          const { device: fd } = device!.description.fds;
          await ignored(device!, {
            deviceState: "running",
            recovery: "reopened",
            lost: false,
            message:
              /the reset of the device changed nothing; it was closed and opened again and is running/,
          });
          assert.equal(sim!.running, true);
          // The same fd leads to it, and it can be used.
          assert.equal(device!.description.fds.device, fd);
          await device!.setState("stop");
          assert.equal((await device!.reset())!.state, "running");
        });
      });
    }
  }

  it("lets go of mappings of the device first", async () => {
    const spec = "mapped?size=256KiB&chunk=64KiB&fault=error-state:3&fault=reset-ignored:1";
    await withSim([spec], async ({ devices: [device] }) => {
      const { stopAndCopy } = await import("../../src/migration/phases/stop_and_copy.ts");
      for await (const _ of stopAndCopy(device!));
      await rejectsWith(device!.setState("running"), { recovery: "reopened" });
      for await (const _ of stopAndCopy(device!));
    });
  });

  const told = {
    deviceState: "error",
    recovery: "ignored",
    lost: true,
    message: /the reset was accepted, and the driver stayed in error$/,
  } as const;

  it("is reported if another process opened the device", async () => {
    const kernel = new SimKernel(`trapped?size=64KiB&${FAULTS}`);
    {
      using owner = openVfioDevice(kernel, parseDeviceName(kernel.devices[0]!.path));
      await using device = await openDevice(`fd:${owner.fd.number}`, { kernel });
      await ignored(device, told);
      await rejectsWith(device.reset(), {
        code: "reset-ignored",
        message: /^Cannot reset the device: the reset was accepted, and the driver stayed in error/,
      });
    }
    assert.deepEqual(kernel.openObjects, []);
  });

  it("is reported if another device shares the group, for either of them", async () => {
    const kernel = new SimKernel(`trapped?size=64KiB&${FAULTS}`);
    {
      using owner = openVfioDevice(kernel, parseDeviceName(kernel.devices[0]!.path));
      const { group, container } = owner;
      const options: OpenOptions = {
        groupFd: group!.fd.number,
        containerFd: container!.fd.number,
      };
      await using device = await openDevice(kernel.devices[0]!.path, { kernel, ...options });
      await ignored(device, told);
      assert.equal(owner.reopenable, true);
      owner.share();
      assert.equal(owner.reopenable, false);
      assert.throws(() => owner.reopen(), /others may use it/);
    }
    assert.deepEqual(kernel.openObjects, []);
  });

  it("is reported if memory is mapped", () => {
    const kernel = new SimKernel("trapped?size=64KiB");
    using device = openVfioDevice(kernel, parseDeviceName(kernel.devices[0]!.path));
    using memory = kernel.mmap(4096, { prot: 3, flags: 0x22 });
    device.space!.map({ iova: 0n, size: 4096n, vaddr: memory.address, flags: 3 });
    assert.equal(device.reopenable, false);
    device.space!.unmap(0n, 4096n);
    assert.equal(device.reopenable, true);
  });

  it("is reported with the result of opening it again", async () => {
    const sim = new SimKernel(`trapped?size=64KiB&${FAULTS}`);
    let refusing = false;
    const kernel = new Proxy<Kernel>(sim, {
      get(target, key): unknown {
        if (key === "dup3") {
          return (from: number, to: number): void => {
            refusing = true;
            target.dup3(from, to);
          };
        }
        if (key === "ioctl" && refusing) {
          return (): never => {
            // As an fd that is no device's any more.
            return sim.ioctl(99, 0) as never;
          };
        }
        const value = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    {
      await using device = await openDevice(sim.devices[0]!.path, { kernel });
      await ignored(device, { deviceState: "unknown", recovery: "failed", lost: true });
    }
    assert.deepEqual(sim.openObjects, []);
  });

  it("keeps each device of several apart", async () => {
    const kernel = new SimKernel(`mlx5?size=64KiB&${FAULTS}`, "trapped?size=64KiB");
    {
      await using devices = await openDevices(kernel.devices.map(({ path }) => path), { kernel });
      await ignored(devices[0]!, { recovery: "reopened" });
      assert.equal((await devices[1]!.state()).state, "running");
    }
    assert.deepEqual(kernel.openObjects, []);
  });
});

it("an fd number is another file's from one step to the next, and never free", () => {
  const kernel = new SimKernel("trapped");
  using one = Fd.own(kernel, kernel.memfd("one", 4096), "one");
  using other = Fd.own(kernel, kernel.memfd("other", 8192), "other");
  kernel.dup3(one.number, other.number);
  assert.equal(kernel.openObjects.length, 2);
  assert.throws(() => kernel.dup3(99, one.number), { code: "EBADF" });
});
