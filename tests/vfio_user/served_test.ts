import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  createCheckpointFile,
  type Device,
  MigrationError,
  openCheckpointFile,
  openDevice,
  openDevices,
  type OpenOptions,
  precopy,
  probe,
  restore,
  resume,
  save,
  type SaveOptions,
  stopAndCopy,
  type Transaction,
  TransferError,
} from "../../mod.ts";
import { DirtySession } from "../../src/dirty/mod.ts";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { MemoryTrace } from "../../src/trace/mod.ts";
import { openVfioDevice } from "../../src/vfio/open/open.ts";
import { parseDeviceName } from "../../src/vfio/open/device_name.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  vfioDeviceFeature,
  vfioDeviceFeatureMigState,
} from "../../src/uapi/mod.ts";
import { TraceKernel } from "../../src/trace/trace_kernel.ts";
import { joinDevice, VfioUserKernel } from "../../src/vfio_user/mod.ts";
import { Served } from "./_served.ts";

async function saveTo(device: Device, path: string, options?: SaveOptions): Promise<void> {
  await using file = await createCheckpointFile(path);
  await save(device, file, options);
}

async function restoreFrom(
  device: Device,
  path: string,
): Promise<{ readonly state: string | null }> {
  await using source = await openCheckpointFile(path);
  return await restore(device, source);
}

/** All bytes of a device's state, while it is stopped. */
async function stateOf(name: string): Promise<Uint8Array> {
  await using device = await openDevice(name);
  const parts: number[][] = [];
  for await (const { data } of stopAndCopy(device) as AsyncIterable<Transaction>) {
    parts.push([...data]);
  }
  return new Uint8Array(parts.flat());
}

describe("a device that is served", () => {
  for (const kind of ["mlx5", "mtty", "mapped", "ice"]) {
    it(`looks as it does without the socket: ${kind}`, async () => {
      await using served = new Served();
      const name = await served.serve(`sim:${kind}?size=64KiB`);
      const own = probe(`sim:${kind}?size=64KiB`);
      const remote = probe(name);
      const { identity, protocol, migrationFlags, features, quirk, resettable, driver, bus } = own;
      assert.deepEqual(
        {
          identity: remote.identity,
          protocol: remote.protocol,
          migrationFlags: remote.migrationFlags,
          features: remote.features,
          quirk: remote.quirk,
          resettable: remote.resettable,
          driver: remote.driver,
          bus: remote.bus,
        },
        { identity, protocol, migrationFlags, features, quirk, resettable, driver, bus },
      );
      assert.deepEqual(
        remote.regions.map(({ index, size, type }) => [index, size, type]),
        own.regions.map(({ index, size, type }) => [index, size, type]),
      );
    });

    it(`is saved and restored by its thread: ${kind}`, async () => {
      await using served = new Served();
      const from = await served.serve(`sim:${kind}?size=3MiB&seed=1`);
      const to = await served.serve(`sim:${kind}?size=3MiB&seed=2`);
      const file = served.file("a.vfk");
      {
        await using device = await openDevice(from);
        const withPrecopy = device.description.precopy ? { precopy: {} } : {};
        await saveTo(device, file, withPrecopy);
        assert.equal((await device.state()).state, "running");
      }
      {
        await using device = await openDevice(to);
        assert.equal((await restoreFrom(device, file)).state, "running");
      }
      {
        await using own = await openDevice(`sim:${kind}?size=3MiB&seed=3`);
        assert.equal((await restoreFrom(own, file)).state, "running");
      }
    });
  }

  it("is restored from another one over the phases' streams, byte by byte", async () => {
    await using served = new Served();
    const names = [
      await served.serve("sim:mlx5?size=1MiB&seed=1"),
      await served.serve("sim:mlx5?size=1MiB&seed=2"),
    ];
    const before = await stateOf(names[0]!);
    assert.notDeepEqual(await stateOf(names[1]!), before);
    await using devices = await openDevices(names);
    await precopy(devices[0]!).pipeTo(new WritableStream());
    await stopAndCopy(devices[0]!).pipeTo(new WritableStream());
    await devices[0]!.recover();
    await stopAndCopy(devices[0]!).pipeTo(resume(devices[1]!));
    const copied: number[][] = [];
    for await (const { data } of stopAndCopy(devices[1]!) as AsyncIterable<Transaction>) {
      copied.push([...data]);
    }
    assert.deepEqual(new Uint8Array(copied.flat()), before);
  });

  it("logs its DMA, which reaches the client's memory", async () => {
    await using served = new Served();
    const name = await served.serve("sim:mlx5?size=64KiB&dma=sequential:1000/s");
    using session = DirtySession.open(name, {
      maps: [{ iova: 0x100000n, size: 0x100000n }],
      tracker: "device",
    });
    session.tracker.start();
    const dirty = new Set<bigint>();
    // The device writes when it is called, by its own clock.
    while (dirty.size === 0) {
      for (const { iova } of session.tracker.read().runs()) dirty.add(iova);
    }
    const memory = new Uint8Array(4096);
    const [first] = dirty;
    session.contents.read(first!, memory);
    assert.ok(memory.some((byte) => byte !== 0), "the page that is dirty was written");
  });

  it("can be opened by one client, and again when that is gone", async () => {
    await using served = new Served();
    const name = await served.serve("sim:mlx5?size=64KiB");
    for (const state of ["stop", "running"] as const) {
      await using device = await openDevice(name);
      assert.equal((await device.state()).state, "running");
      await device.setState(state);
    }
    await assert.rejects(openDevices([name, name]), { code: "bad-name" });
  });

  /** A restore that fails, of a device with faults; what the error says of it, and its state then. */
  async function failedRestore(fault: string, options: OpenOptions = {}): Promise<unknown> {
    await using served = new Served();
    const file = served.file("a.vfk");
    await using from = await openDevice("sim:mlx5?size=64KiB");
    await saveTo(from, file);
    const name = await served.serve(`sim:mlx5?size=64KiB&fault=write:1:EIO&fault=${fault}`);
    await using device = await openDevice(name, options);
    const error = await restoreFrom(device, file).catch((error: unknown) => error);
    assert.ok(error instanceof TransferError, String(error));
    const { state, recovery } = error.devices[0]!;
    return [recovery, state, (await device.state()).state];
  }

  for (const fault of ["reset:1:EINVAL", "reset-ignored:1"]) {
    it(`runs again when its restore fails, as it is connected to again: ${fault}`, async () => {
      assert.deepEqual(await failedRestore(fault), ["reopened", "running", "running"]);
    });
  }

  it("is not connected to again with memory mapped: it stays as its restore left it", async () => {
    const maps = [{ iova: 0x100000n, size: 0x100000n }];
    const left = await failedRestore("reset:1:EINVAL", { maps });
    assert.deepEqual(left, ["failed", "resuming", "resuming"]);
  });

  it("is in an unknown state when its server has ended", async () => {
    await using served = new Served();
    const name = await served.serve("sim:mlx5?size=64KiB");
    await using device = await openDevice(name);
    await served.end();
    const error = await device.setState("stop").catch((error: unknown) => error);
    assert.ok(error instanceof MigrationError, String(error));
    assert.equal(error.deviceState, "unknown");
    const { migratable, reasons } = probe(name);
    assert.deepEqual([migratable, reasons.map(({ code }) => code)], [null, ["no-server"]]);
  });

  it("has every call in a trace", async () => {
    await using served = new Served();
    const name = await served.serve("sim:mlx5?size=64KiB");
    const trace = new MemoryTrace();
    const { path } = parseDeviceName(name) as { readonly path: string };
    const kernel = new TraceKernel(new VfioUserKernel(path), trace);
    openVfioDevice(kernel, parseDeviceName(name)).close();
    const calls = trace.events.map(({ call, request }) => request ?? call);
    assert.equal(calls[0], "open");
    assert.ok(calls.includes("VFIO_DEVICE_BIND_IOMMUFD") && calls.includes("VFIO_DEVICE_GET_INFO"));
  });

  it("takes turns between two threads that call it", async () => {
    await using served = new Served();
    const name = await served.serve("sim:mlx5?size=64KiB");
    const { path } = parseDeviceName(name) as { readonly path: string };
    const kernel = new VfioUserKernel(path);
    using device = openVfioDevice(kernel, parseDeviceName(name));
    const other = joinDevice(structuredClone(kernel.share()!));
    const flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
    for (const each of [kernel, other, kernel, other]) {
      const argument = vfioDeviceFeature.pack({ flags, data: vfioDeviceFeatureMigState.pack({}) });
      each.ioctl(device.fd.number, VFIO_DEVICE_FEATURE, argument);
      assert.equal(vfioDeviceFeatureMigState.unpack(argument, 8).device_state, 2);
    }
    // While another thread has a request under way, this one waits for its time.
    const { memory, ...shared } = kernel.share()!;
    const impatient = joinDevice({ ...shared, memory, timeoutMs: 0 });
    Atomics.store(new Int32Array(memory), 0, 1);
    const argument = vfioDeviceFeature.pack({ flags, data: vfioDeviceFeatureMigState.pack({}) });
    const call = (): number => impatient.ioctl(0, VFIO_DEVICE_FEATURE, argument);
    assert.throws(call, (error) => isErrno(error, "ETIMEDOUT") && /thread/.test(error.message));
    Atomics.store(new Int32Array(memory), 0, 0);
    other.ioctl(device.fd.number, VFIO_DEVICE_FEATURE, argument);
  });
});
