/**
 * Which note a driver's mistake gives, in which operation, and how the
 * operation ends: one table, with every code in it.
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { explain } from "../../cli/output/error_message.ts";
import {
  type Device,
  openCheckpointFile,
  openDevice,
  openDevices,
  restore,
  save,
  type SaveOptions,
  type TransferReport,
} from "../../mod.ts";
import type { DriverNoteCode } from "../../src/vfio/mod.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import { PERSONALITIES, SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_MIG_GET_PRECOPY_INFO,
  vfioDeviceFeature,
  vfioPrecopyInfo,
  vfioRegionInfo,
} from "../../src/uapi/mod.ts";
import { DRIVER_RULES } from "../../src/vfio/notes/driver_note_rules.ts";
import { createCheckpointFile } from "../../src/checkpoint/file/create_checkpoint_file.ts";
import { Folder } from "../cli/_folder.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What is done with a device. */
const OPERATIONS = {
  "save": (device: Device, file: string) => saveTo(device, file),
  "pre-copy": (device: Device, file: string) => saveTo(device, file, { precopy: {} }),
  // So short that pre-copy goes on until there is nothing to read any more.
  "downtime": (device: Device, file: string) =>
    saveTo(device, file, { precopy: { downtimeMs: 1e-6 } }),
  "restore": async (device: Device, file: string) => {
    await using source = await openCheckpointFile(file);
    return await restore(device, source);
  },
  "stop": (device: Device) => device.setState("stop"),
  "reset": (device: Device) => device.reset(),
  "resume and reset": async (device: Device) => {
    await device.setState("resuming");
    return await device.reset();
  },
} as const;

type Operation = keyof typeof OPERATIONS;

async function saveTo(
  device: Device,
  file: string,
  options: SaveOptions = {},
): Promise<TransferReport> {
  await using sink = await createCheckpointFile(file, { force: true });
  return await save(device, sink, options);
}

/** What a kernel answers otherwise. */
type Lie = (kernel: SimKernel) => void;

/** Changes what an ioctl answers; `change` is told the request and its bytes. */
function ioctlLie(change: (request: number, arg: Bytes) => void): Lie {
  return (kernel) => {
    const { ioctl } = kernel;
    kernel.ioctl = (fd, request, arg) => {
      const result = ioctl.call(kernel, fd, request, arg);
      if (arg instanceof Uint8Array) change(request, arg as Bytes);
      return result;
    };
  };
}

/** Changes the answer of one use of a feature. */
function featureLie(use: number, change: (payload: DataView) => void): Lie {
  return ioctlLie((request, arg) => {
    if (request !== VFIO_DEVICE_FEATURE || vfioDeviceFeature.unpack(arg).flags !== use) return;
    change(new DataView(arg.buffer, arg.byteOffset + vfioDeviceFeature.size));
  });
}

/** Refuses one use of a feature. */
function featureRefused(use: number, errno: "EIO" | "EBUSY"): Lie {
  return (kernel) => {
    const { ioctl } = kernel;
    kernel.ioctl = (fd, request, arg) => {
      const asked = request === VFIO_DEVICE_FEATURE && arg instanceof Uint8Array &&
        vfioDeviceFeature.unpack(arg as Bytes).flags === use;
      if (asked) throw new SysError("ioctl", ERRNO[errno]);
      return ioctl.call(kernel, fd, request, arg);
    };
  };
}

/** Changes the precopy info. */
function infoLie(flags: number, initial_bytes: bigint, dirty_bytes: bigint, from = 0): Lie {
  let count = 0;
  return ioctlLie((request, arg) => {
    if (request !== VFIO_MIG_GET_PRECOPY_INFO || count++ < from) return;
    vfioPrecopyInfo.pack({ flags, initial_bytes, dirty_bytes }, arg);
  });
}

/** Fails the closing of data fds, after it is done. */
const closeFails: Lie = (kernel) => {
  const { close, ioctl } = kernel;
  let data = -1;
  kernel.ioctl = (fd, request, arg) => {
    const result = ioctl.call(kernel, fd, request, arg);
    if (request === VFIO_DEVICE_FEATURE && arg instanceof Uint8Array) {
      const { flags } = vfioDeviceFeature.unpack(arg as Bytes);
      if (flags !== (VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE)) return result;
      const given = new DataView(arg.buffer).getInt32(vfioDeviceFeature.size + 4, true);
      if (given >= 0) data = given;
    }
    return result;
  };
  kernel.close = (fd) => {
    close.call(kernel, fd);
    if (fd === data) throw new SysError("close", ERRNO.EIO);
  };
};

/** Changes a 64-bit register of the migration region at its first read. */
function registerLie(register: number, change: (value: bigint) => bigint): Lie {
  return (kernel) => {
    const { pread } = kernel;
    let done = false;
    kernel.pread = (fd, into, offset) => {
      const count = pread.call(kernel, fd, into, offset);
      if (done || into.length !== 8 || Number(offset) !== 9 * 2 ** 40 + register) return count;
      done = true;
      const view = new DataView(into.buffer, into.byteOffset);
      view.setBigUint64(0, change(view.getBigUint64(0, true)), true);
      return count;
    };
  };
}

const GET_STATE = (VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE) >>> 0;
const GET_SIZE = (VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE) >>> 0;
const GET_FLAGS = (VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION) >>> 0;
const OPT_IN = (VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2) >>> 0;

interface Row {
  readonly does: Operation;
  /** The device, without `sim:`. */
  readonly on: string;
  readonly notes: readonly DriverNoteCode[];
  /** The exit code of the command that does it; 0 where not given. */
  readonly exit?: number;
  readonly lie?: Lie;
  /** What lies, in words. */
  readonly what?: string;
}

const SMALL = "size=64KiB&chunk=16KiB";

const ROWS: readonly Row[] = [
  // The state.
  { does: "save", on: `trapped?${SMALL}&fault=state-read:1:EIO`, notes: ["state-read-failed"] },
  { does: "restore", on: `mlx5?${SMALL}&fault=state-read:1:EIO`, notes: ["state-read-failed"] },
  { does: "save", on: `trapped?${SMALL}&fault=state-late:1`, notes: ["state-lags"] },
  { does: "save", on: `trapped?${SMALL}&fault=state-late:3`, notes: ["state-lags"] },
  { does: "restore", on: `mapped?${SMALL}&fault=state-late:2`, notes: ["state-lags"] },
  { does: "stop", on: `trapped?${SMALL}&fault=state-late:1`, notes: ["state-lags"] },
  { does: "save", on: `mlx5?${SMALL}&fault=state-late:4`, notes: ["state-lags"] },
  { does: "restore", on: `mlx5?${SMALL}&fault=state-late:4`, notes: ["state-lags"] },
  {
    does: "save",
    on: "ice?fault=state-late:1",
    notes: ["quirk-stop-at-open", "state-lags"],
  },
  { does: "save", on: `trapped?${SMALL}&fault=transition:3:EBUSY`, notes: ["step-refused-once"] },
  { does: "save", on: `mlx5?${SMALL}&fault=transition:6:EBUSY`, notes: ["step-refused-once"] },
  {
    does: "save",
    on: `trapped?${SMALL}&fault=read:1:EIO&fault=transition:2:EIO&fault=transition:3:EIO`,
    notes: ["recovery-refused"],
    exit: 1,
  },
  {
    does: "save",
    on: `mlx5?${SMALL}&fault=read:1:EIO&fault=transition:4:EIO`,
    notes: ["recovery-refused"],
    exit: 1,
  },
  {
    does: "save",
    on: `mlx5?${SMALL}&fault=error-state:2&fault=reset:1:EIO`,
    notes: ["reset-failed"],
    exit: 5,
  },
  { does: "resume and reset", on: `mlx5?${SMALL}&fault=reset-ignored:1`, notes: ["reset-ignored"] },
  {
    does: "resume and reset",
    on: `trapped?${SMALL}&fault=reset-ignored:always`,
    notes: ["reset-ignored"],
  },
  { does: "save", on: `trapped?${SMALL}&fault=stop-at-open`, notes: ["stop-at-open"] },
  { does: "stop", on: `trapped?${SMALL}&fault=stop-at-open`, notes: ["stop-at-open"] },
  { does: "save", on: `trapped?${SMALL}&fault=reserved-lost:2`, notes: ["reserved-bits-lost"] },
  { does: "stop", on: `mapped?${SMALL}&fault=reserved-lost:1`, notes: ["reserved-bits-lost"] },
  {
    does: "reset",
    on: `mlx5?${SMALL}`,
    what: "a state of 9",
    lie: featureLie(GET_STATE, (payload) => payload.setUint32(0, 9, true)),
    notes: ["state-undefined"],
    exit: 5,
  },
  {
    does: "save",
    on: `mlx5?${SMALL}`,
    what: "an fd that comes with a GET",
    lie: featureLie(GET_STATE, (payload) => payload.setInt32(4, 0, true)),
    notes: ["get-data-fd"],
  },
  { does: "save", on: `mlx5?${SMALL}&fault=fd-extra:1`, notes: ["fd-not-due"] },
  { does: "pre-copy", on: `mlx5?${SMALL}&fault=fd-extra:2`, notes: ["fd-not-due"] },
  { does: "pre-copy", on: `mlx5?${SMALL}&fault=fd-extra:3`, notes: ["fd-not-due"] },
  { does: "restore", on: `mlx5?${SMALL}&fault=fd-extra:5`, notes: ["fd-not-due"] },
  {
    does: "save",
    on: `mlx5?${SMALL}`,
    what: "a data fd that does not close",
    lie: closeFails,
    notes: ["data-fd-close"],
  },
  // What the device says that it can do.
  {
    does: "save",
    on: `mlx5?${SMALL}`,
    what: "flags that cannot be read",
    lie: featureRefused(GET_FLAGS, "EIO"),
    notes: ["migration-flags-failed"],
    exit: 3,
  },
  { does: "save", on: `mlx5?${SMALL}&fault=odd-flags`, notes: ["flags-undefined"] },
  { does: "reset", on: `virtio?${SMALL}&fault=odd-flags`, notes: ["flags-undefined"] },
  { does: "save", on: `qat?${SMALL}&fault=no-stop-copy`, notes: ["flags-no-stop-copy"] },
  {
    does: "save",
    on: `trapped?${SMALL}`,
    what: "a region that ends beyond 2^53",
    lie: ioctlLie((request, arg) => {
      if (request !== VFIO_DEVICE_GET_REGION_INFO) return;
      const info = vfioRegionInfo.unpack(arg);
      if (info.index === 0) vfioRegionInfo.pack({ ...info, size: 2n ** 60n }, arg);
    }),
    notes: ["region-broken"],
  },
  {
    does: "save",
    on: `mapped?${SMALL}`,
    what: "a sparse area that begins within a page",
    lie: ioctlLie((request, arg) => {
      if (request !== VFIO_DEVICE_GET_REGION_INFO) return;
      const { index, cap_offset } = vfioRegionInfo.unpack(arg);
      if (index !== 9 || cap_offset === 0) return;
      // The capability of the type, 16 bytes, and then the areas: the first one's size.
      const view = new DataView(arg.buffer, arg.byteOffset);
      const at = cap_offset + 16 + 16 + 8;
      view.setBigUint64(at, view.getBigUint64(at, true) - 512n, true);
    }),
    notes: ["sparse-area"],
  },
  { does: "save", on: `mapped?${SMALL}&fault=mmap:ENOMEM`, notes: ["mmap-failed"] },
  { does: "restore", on: `partitioned?${SMALL}&fault=mmap:EINVAL`, notes: ["mmap-failed"] },
  // v1: the registers and the data section.
  { does: "save", on: `trapped?${SMALL}&fault=pending-grows:2`, notes: ["pending-grows"] },
  {
    does: "save",
    on: `trapped?${SMALL}`,
    what: "a pending_bytes of 0 for once",
    lie: registerLie(8, () => 0n),
    notes: ["pending-returned"],
  },
  {
    does: "save",
    on: `trapped?${SMALL}`,
    what: "a pending_bytes that is too high at first",
    lie: registerLie(8, (pending) => pending + 0x100_0000n),
    notes: ["pending-dropped"],
  },
  { does: "save", on: `trapped?${SMALL}&fault=data-size-zero:3`, notes: ["data-size-zero"] },
  { does: "pre-copy", on: `mapped?${SMALL}&fault=data-size-zero:1`, notes: ["data-size-zero"] },
  {
    does: "save",
    on: `trapped?${SMALL}&fault=data-size-zero:always`,
    notes: ["data-size-zero"],
    exit: 1,
  },
  {
    does: "save",
    on: "trapped?size=1MiB",
    what: "a pending_bytes that is too low at first",
    lie: registerLie(8, () => 1n),
    notes: ["data-size-over-pending", "pending-grows"],
  },
  {
    does: "save",
    on: `mapped?${SMALL}&fault=offset-unaligned`,
    notes: ["data-offset-unaligned"],
  },
  { does: "save", on: `trapped?${SMALL}&fault=short-read:2`, notes: ["short-transfer"] },
  { does: "restore", on: `trapped?${SMALL}&fault=short-write:1`, notes: ["short-transfer"] },
  { does: "save", on: `trapped?${SMALL}&fault=read:1:EAGAIN`, notes: ["region-not-ready"] },
  { does: "restore", on: `trapped?${SMALL}&fault=write:1:EAGAIN`, notes: ["region-not-ready"] },
  { does: "save", on: `trapped?${SMALL}&fault=no-data`, notes: ["state-empty"] },
  { does: "pre-copy", on: `mapped?${SMALL}&fault=no-data`, notes: ["state-empty"] },
  // v2: pre-copy.
  {
    does: "pre-copy",
    on: `mlx5?${SMALL}&fault=precopy-info:1:ENOTTY`,
    notes: ["precopy-info-missing"],
  },
  {
    does: "pre-copy",
    on: `mlx5?${SMALL}&fault=precopy-info:1:EINVAL`,
    notes: ["precopy-info-failed"],
  },
  {
    does: "pre-copy",
    on: `qat?${SMALL}&fault=precopy-info:2:EIO`,
    notes: ["precopy-info-failed"],
  },
  { does: "pre-copy", on: `mlx5?${SMALL}&fault=precopy-flags`, notes: ["precopy-info-flags"] },
  {
    does: "pre-copy",
    on: `mlx5?${SMALL}&reinit=1&fault=precopy-flags`,
    notes: ["precopy-info-flags"],
  },
  {
    does: "pre-copy",
    on: `mlx5?${SMALL}`,
    what: "a precopy info of 2^64 bytes",
    lie: infoLie(0, 0n, 2n ** 64n - 4096n, 1),
    notes: ["precopy-info-wraps"],
  },
  {
    does: "pre-copy",
    on: `mlx5?${SMALL}&reinit=1`,
    what: "an opt-in that is refused",
    lie: featureRefused(OPT_IN, "EBUSY"),
    notes: ["precopy-opt-in-refused"],
  },
  {
    does: "pre-copy",
    on: `mlx5?${SMALL}&reinit=1`,
    what: "new initial data of 0 bytes",
    lie: infoLie(1, 0n, 0n, 1),
    notes: ["precopy-reinit"],
  },
  {
    does: "pre-copy",
    on: `mlx5?${SMALL}&fault=initial-zero`,
    notes: ["initial-bytes-zero", "dirty-bytes-first"],
  },
  {
    does: "pre-copy",
    on: "mlx5?size=4MiB&chunk=64KiB&fault=initial-stays",
    notes: ["initial-bytes-not-falling"],
  },
  {
    does: "pre-copy",
    on: `mlx5?${SMALL}&fault=initial-never-zero`,
    notes: ["initial-bytes-left"],
  },
  { does: "pre-copy", on: `mlx5?${SMALL}&fault=dirty-first`, notes: ["dirty-bytes-first"] },
  { does: "downtime", on: `mlx5?${SMALL}&fault=drained-zero`, notes: ["drained-zero"] },
  // v2: the data fd.
  { does: "save", on: `mlx5?${SMALL}&fault=no-data`, notes: ["stop-copy-empty"] },
  {
    does: "pre-copy",
    on: `qat?${SMALL}&fault=no-data`,
    notes: ["initial-bytes-zero", "stop-copy-empty"],
  },
  { does: "save", on: `mlx5?${SMALL}&fault=data-size-zero:always`, notes: ["mig-data-size"] },
  { does: "pre-copy", on: `mlx5?${SMALL}&fault=data-size-zero:always`, notes: ["mig-data-size"] },
  { does: "save", on: "pds?size=4MiB&fault=data-size-small", notes: ["mig-data-size"] },
  {
    does: "save",
    on: `mlx5?${SMALL}`,
    what: "an estimate that is far too high",
    lie: featureLie(GET_SIZE, (payload) => payload.setBigUint64(0, 1n << 40n, true)),
    notes: ["mig-data-size"],
  },
  {
    does: "save",
    on: `mlx5?${SMALL}`,
    what: "an estimate that fails",
    lie: featureRefused(GET_SIZE, "EIO"),
    notes: ["mig-data-size-failed"],
  },
  { does: "save", on: "mlx5?size=4MiB&fault=short-read:2", notes: ["short-read"] },
  { does: "pre-copy", on: "mlx5?size=4MiB&fault=short-read:2", notes: ["short-read"] },
  { does: "restore", on: `mlx5?${SMALL}&fault=short-write:1`, notes: ["short-write"] },
  {
    does: "save",
    on: `qat?${SMALL}&fault=read:1:EAGAIN&fault=read:2:EAGAIN`,
    notes: ["poll-ready"],
  },
  {
    does: "restore",
    on: `qat?${SMALL}&fault=write:1:EAGAIN&fault=write:2:EAGAIN`,
    notes: ["poll-ready"],
  },
  // Known drivers.
  {
    does: "resume and reset",
    on: "ice",
    notes: ["quirk-stop-at-open", "quirk-reset-keeps-state"],
  },
];

/** What some kinds of device give by nature, whatever is done with them. */
const BY_NATURE: Readonly<Record<string, Partial<Record<Operation, readonly DriverNoteCode[]>>>> = {
  "ice": {
    "save": ["quirk-stop-at-open"],
    "pre-copy": ["quirk-stop-at-open"],
    "restore": ["quirk-stop-at-open"],
    "stop": ["quirk-stop-at-open"],
    "reset": ["quirk-stop-at-open"],
  },
  "nvidia-vgpu": { "save": ["quirk-data-size"], "pre-copy": ["quirk-data-size"] },
  "qat": { "downtime": ["drained-zero"] },
  "hisi": { "downtime": ["drained-zero"] },
  "mtty": { "downtime": ["drained-zero"] },
};

/** Does it, and tells what was noted and the command's exit code. */
async function outcome(
  device: Device,
  does: Operation,
  file: string,
): Promise<{ readonly notes: DriverNoteCode[]; readonly exit: number }> {
  let exit = 0;
  try {
    await OPERATIONS[does](device, file);
  } catch (error) {
    ({ exitCode: exit } = explain(error, undefined));
  }
  return { notes: device.notes.map(({ code }) => code), exit };
}

/** Opens a simulated device that needs no Worker, which takes longer to start than all that is done. */
function openOnThisThread(spec: string): Promise<Device> {
  const kernel = new SimKernel(spec);
  return openDevice(kernel.devices[0]!.path, { kernel });
}

/** A checkpoint of a device of the same kind, without its faults. */
async function savedFor(on: string, file: string): Promise<void> {
  const clean = on.replace(/&?fault=[^&]*/g, "").replace(/\?$/, "");
  await using device = await openOnThisThread(clean);
  await saveTo(device, file);
}

describe("a driver's mistake", () => {
  for (const { does, on, notes, exit = 0, lie, what } of ROWS) {
    const name = what === undefined ? `sim:${on}` : `${what} on sim:${on}`;
    it(`gives ${notes.join(" and ")}: ${does} with ${name}`, async () => {
      using folder = new Folder();
      const file = folder.file("a");
      if (does === "restore") await savedFor(on, file);
      const kernel = new SimKernel(on);
      lie?.(kernel);
      await using device = await openDevice(kernel.devices[0]!.path, { kernel });
      assert.deepEqual(await outcome(device, does, file), { notes: [...notes], exit });
      assert.deepEqual(kernel.devices[0]!.violations, []);
    });
  }

  it("has a row for every code", () => {
    const rows = [
      ...ROWS,
      ...Object.values(BY_NATURE).flatMap((by) => Object.values(by).map((notes) => ({ notes }))),
    ];
    const elsewhere: DriverNoteCode[] = ["precopy-stalled"];
    const shown = new Set([...rows.flatMap(({ notes }) => notes), ...elsewhere]);
    assert.deepEqual([...shown].sort(), Object.keys(DRIVER_RULES).sort());
  });
});

describe("a simulated driver that keeps to the rules", () => {
  for (const [name, { protocol, dataSection }] of Object.entries(PERSONALITIES)) {
    if (protocol === null) continue;
    const withoutPrecopy = name === "pds" || name === "stop-copy-only";
    for (const rate of ["", "?rate=4MiB"]) {
      it(`gives no note but what it gives by nature: sim:${name}${rate}`, async () => {
        using folder = new Folder();
        const file = folder.file("a");
        const does = (Object.keys(OPERATIONS) as Operation[]).filter((operation) =>
          !(withoutPrecopy && (operation === "pre-copy" || operation === "downtime")) &&
          !(operation === "downtime" && dataSection !== null) &&
          !(operation === "resume and reset" && name === "ice")
        );
        for (const operation of does) {
          if (operation === "restore") await savedFor(`${name}${rate}`, file);
          await using device = await openOnThisThread(`${name}${rate}`);
          assert.deepEqual(
            await outcome(device, operation, file),
            { notes: BY_NATURE[name]?.[operation] ?? [], exit: 0 },
            operation,
          );
        }
      });
    }
  }
});

describe("notes about several devices", () => {
  it("are reported for each of them, saved and restored", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    const kinds = [`mlx5?${SMALL}`, `trapped?${SMALL}`, `qat?${SMALL}`];
    const faults = ["", "&fault=state-late:1", "&fault=odd-flags"];
    const expected = [[], ["state-lags"], ["flags-undefined"]];
    const names = kinds.map((kind, index) => `sim:${kind}${faults[index]}`);
    {
      await using devices = await openDevices(names);
      await using sink = await createCheckpointFile(file);
      const report = await save(devices, sink, { precopy: {} });
      assert.deepEqual(
        report.devices.map(({ notes }) => notes.map(({ code }) => code)),
        expected,
      );
    }
    await using devices = await openDevices(names);
    await using source = await openCheckpointFile(file);
    const report = await restore(devices, source);
    assert.deepEqual(report.devices.map(({ notes }) => notes.map(({ code }) => code)), expected);
  });
});
