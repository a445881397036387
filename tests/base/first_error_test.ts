// Wherever a cleanup fails after an error: that error is thrown, as what it is, and the errors of
// the cleanup are reported beside it.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  cleanupErrors,
  openDevice,
  openDevices,
  OpenError,
  probe,
  restore,
  save,
  TransferError,
  UnsupportedError,
} from "../../mod.ts";
import { cleanlyThen, cleanlyThenAsync } from "../../src/base/cleanup.ts";
import { DirtySession } from "../../src/dirty/mod.ts";
import { type Mapping, type MmapOptions, openFds, SysError } from "../../src/kernel/mod.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_GET_REGION_INFO,
  vfioDeviceFeature,
  vfioDeviceFeatureDmaLoggingControl,
} from "../../src/uapi/mod.ts";
import { AnswerError, DmaError, parseDeviceName } from "../../src/vfio/mod.ts";
import { openVfioDevice } from "../../src/vfio/open/open.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A simulated kernel whose munmap fails with ENOMEM, although the memory is unmapped. */
class UnmapFails extends SimKernel {
  override mmap(length: number, options: MmapOptions): Mapping {
    const mapping = super.mmap(length, options);
    const close = (): void => {
      mapping.close();
      throw new SysError("munmap", 12);
    };
    return {
      address: mapping.address,
      length: mapping.length,
      read: (offset, into) => mapping.read(offset, into),
      write: (offset, from) => mapping.write(offset, from),
      close,
      [Symbol.dispose]: close,
    };
  }
}

/** A simulated kernel whose answers to ioctls a test changes. */
class Changed extends SimKernel {
  readonly #change: (request: number, arg: Bytes) => void;

  constructor(change: (request: number, arg: Bytes) => void, ...specs: string[]) {
    super(...specs);
    this.#change = change;
  }

  override ioctl(fd: number, request: number, arg: Bytes | number = 0): number {
    const result = super.ioctl(fd, request, arg);
    if (typeof arg !== "number") this.#change(request, arg);
    return result;
  }
}

/** No region can be described. */
function noRegions(request: number): void {
  if (request === VFIO_DEVICE_GET_REGION_INFO) throw new SysError("ioctl", 5, "a region");
}

/** A log goes by pages of three bytes. */
function oddPages(request: number, arg: Bytes): void {
  if (request !== VFIO_DEVICE_FEATURE) return;
  const feature = vfioDeviceFeature.unpack(arg).flags & 0xffff;
  if (feature !== VFIO_DEVICE_FEATURE_DMA_LOGGING_START) return;
  const codec = vfioDeviceFeatureDmaLoggingControl;
  const at = vfioDeviceFeature.size;
  if (arg.length < at + codec.size) return;
  codec.pack({ ...codec.unpack(arg, at), page_size: 3n }, arg.subarray(at) as Bytes);
}

const maps = [{ iova: 0x100000n, size: 1n << 20n }];

interface Case {
  readonly kernel: SimKernel;
  readonly work: (kernel: SimKernel, path: string) => unknown;
  readonly kind: abstract new (...args: never[]) => Error;
  readonly code: string;
  /** What the errors of the cleanup say. */
  readonly met: readonly RegExp[];
}

/** Dirty pages are tracked by the device. */
function tracked(kernel: SimKernel, path: string): void {
  DirtySession.open(path, { kernel, maps, tracker: "device" }).close();
}

/** A device goes to a sink that cannot be given up. */
async function saved(kernel: SimKernel, path: string): Promise<void> {
  const sink = {
    writable: new WritableStream<Bytes>(),
    commit: () => Promise.resolve(),
    abort: () => Promise.reject(new SysError("unlink", 13)),
  };
  const device = await openDevice(path, { kernel });
  await cleanlyThenAsync(() => save(device, sink), () => device.close());
}

const CASES: Readonly<Record<string, Case>> = {
  "several devices, of which one cannot be opened": {
    kernel: new SimKernel("trapped?fault=close:1:EIO", "trapped?fault=open:EACCES"),
    work: (kernel) => openDevices(kernel.devices.map(({ path }) => path), { kernel }),
    kind: UnsupportedError,
    code: "no-permission",
    met: [/^close fd \d+: EIO/],
  },
  "several devices, of which none can be closed": {
    kernel: new SimKernel("trapped?fault=close:1:EBUSY", "trapped?fault=close:1:EIO"),
    work: async (kernel) => {
      const devices = await openDevices(kernel.devices.map(({ path }) => path), { kernel });
      await devices[Symbol.asyncDispose]();
    },
    kind: SysError,
    code: "EIO",
    met: [/EBUSY/],
  },
  "a device that cannot be described": {
    kernel: new Changed(noRegions, "mlx5?fault=close:1:EBUSY"),
    work: (kernel, path) => openDevice(path, { kernel }),
    kind: SysError,
    code: "EIO",
    met: [/^close fd \d+: EBUSY/],
  },
  "a probed device that cannot be described": {
    kernel: new Changed(noRegions, "mlx5?fault=close:1:EBUSY"),
    work: (kernel, path) => probe(path, { kernel }),
    kind: SysError,
    code: "EIO",
    met: [/^close fd \d+: EBUSY/],
  },
  "a device that cannot be opened by its node": {
    kernel: new SimKernel("mlx5?cdev=1&fault=attach:ENOMEM&fault=close:1:EBUSY"),
    work: (kernel, path) => openVfioDevice(kernel, parseDeviceName(path), { via: "cdev" }),
    kind: OpenError,
    code: "no-memory",
    met: [/^close fd \d+: EBUSY/],
  },
  "a device that cannot be opened by its group": {
    kernel: new SimKernel("mlx5?fault=device-info:EIO&fault=close:1:EBUSY"),
    work: (kernel, path) => openVfioDevice(kernel, parseDeviceName(path)),
    kind: OpenError,
    code: "no-power",
    met: [/^close fd \d+: EBUSY/],
  },
  "a v1 device's data section and the device, when it is closed": {
    kernel: new UnmapFails("mapped?size=64KiB&fault=close:1:EBUSY"),
    work: async (kernel, path) => {
      const device = await openDevice(path, { kernel });
      await save(device, new WritableStream());
      await device.close();
    },
    kind: SysError,
    code: "ENOMEM",
    met: [/EBUSY/],
  },
  "a log that does not start": {
    kernel: new UnmapFails("mlx5?fault=log-start:1:ENOSPC"),
    work: tracked,
    kind: DmaError,
    code: "ENOSPC",
    met: [/munmap/, /munmap/],
  },
  "a log that cannot be used, nor stopped": {
    kernel: new Changed(oddPages, "mlx5?fault=log-stop:1:EIO"),
    work: tracked,
    kind: AnswerError,
    code: "broken-answer",
    met: [/Cannot stop the device's log/],
  },
  "a log that cannot be read, nor stopped": {
    kernel: new SimKernel("mlx5?fault=log-report:1:EIO&fault=log-stop:1:EIO"),
    work: tracked,
    kind: DmaError,
    code: "EIO",
    met: [/Cannot stop the device's log/],
  },
  "a page that is tried and cannot be unmapped": {
    kernel: new UnmapFails("trapped?iommu=all-dirty&fault=unmap:1:EIO"),
    work: (kernel, path) => {
      const session = DirtySession.open(path, { kernel, maps, tracker: "type1" });
      session.tracker.start();
      cleanlyThen(() => session.tracker.read({ twice: true }), () => session.close());
    },
    kind: DmaError,
    code: "EIO",
    met: [/munmap/, /munmap/, /munmap/],
  },
  "tracking that cannot be stopped": {
    kernel: new SimKernel(
      "trapped?fault=dirty-get:1:EIO&fault=dirty-stop:1:EBUSY&fault=unmap:1:EIO",
    ),
    work: (kernel, path) => {
      const session = DirtySession.open(path, { kernel, maps, tracker: "type1" });
      session.tracker.start();
      session.close();
    },
    kind: SysError,
    code: "EBUSY",
    met: [/Cannot unmap/],
  },
  "a device that neither it nor type1 tracks": {
    kernel: new SimKernel(
      "mlx5?cdev=1&fault=no-log-report&fault=no-dirty-capability&fault=close:1:EBUSY",
    ),
    work: (kernel, path) => DirtySession.open(path, { kernel, maps }),
    kind: UnsupportedError,
    code: "no-dirty-capability",
    met: [/^close fd \d+: EBUSY/],
  },
  "a save to a sink that cannot be given up": {
    kernel: new SimKernel("trapped?size=64KiB&fault=read:1:EIO"),
    work: saved,
    kind: TransferError,
    code: "io",
    met: [/^unlink: EACCES/],
  },
  "a bad checkpoint and a device that cannot be closed": {
    kernel: new SimKernel("trapped?size=64KiB&fault=close:1:EBUSY"),
    work: async (kernel, path) => {
      const device = await openDevice(path, { kernel });
      const source = ReadableStream.from([new Uint8Array(100)]);
      await cleanlyThenAsync(() => restore(device, source), () => device.close());
    },
    kind: TransferError,
    code: "not-a-checkpoint",
    met: [/EBUSY/],
  },
};

describe("the first error stays the error", () => {
  for (
    const [what, { kernel, work, kind, code, met }] of Object.entries(CASES)
  ) {
    it(`of ${what}`, async () => {
      const before = openFds();
      await assert.rejects(async () => await work(kernel, kernel.devices[0]!.path), (error) => {
        assert.ok(error instanceof kind, String(error));
        assert.equal((error as Error & { code?: string }).code, code);
        const messages = cleanupErrors(error).map(({ message }) => message);
        assert.equal(messages.length, met.length, messages.join("\n"));
        for (const [index, each] of met.entries()) assert.match(messages[index]!, each);
        return true;
      });
      assert.deepEqual(kernel.openObjects, []);
      assert.deepEqual(openFds(), before);
    });
  }
});
