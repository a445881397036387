/**
 * /dev/iommu, and the fake PCI function's own character device, with knobs for
 * what goes wrong.
 */

import type { ErrnoName } from "../../src/kernel/errno_names.ts";
import type { Mapping, MmapOptions } from "../../src/kernel/kernel.ts";
import * as uapi from "../../src/uapi/mod.ts";
import { fail, type FakeFile, type FakeKernel } from "./_fake_kernel.ts";
import { fakeDevice, type FakeVfio, fakeVfio, FOLDER } from "./_fake_vfio.ts";

type Buffer = Uint8Array<ArrayBuffer>;

/** The function's own node. */
export const CDEV_PATH = "/dev/vfio/devices/vfio7";

/** The bytes of each VF token that was given with BIND, in hexadecimal. */
export type Tokens = string[];

/** Memory at addresses that only the fake knows. */
class FakeMapping implements Mapping {
  readonly address: bigint;
  readonly length: number;
  readonly bytes: Buffer;

  constructor(address: bigint, length: number) {
    this.address = address;
    this.length = length;
    this.bytes = new Uint8Array(new ArrayBuffer(length));
  }

  read(offset: number, into: Uint8Array): void {
    into.set(this.bytes.subarray(offset, offset + into.length));
  }

  write(offset: number, from: Uint8Array): void {
    this.bytes.set(from, offset);
  }

  close(): void {}

  [Symbol.dispose](): void {}
}

/** As `fakeVfio`, with a cdev; a failing request fails on the cdev and on /dev/iommu as well. */
export function fakeCdev(fake: FakeVfio = {}): { kernel: FakeKernel; tokens: Tokens } {
  const kernel = fakeVfio(fake);
  const tokens: Tokens = [];
  const mappings: FakeMapping[] = [];
  Object.assign(kernel, {
    mmap(length: number, _options: MmapOptions): Mapping {
      const mapping = new FakeMapping(0x7f00_0000_0000n + BigInt(mappings.length * 8192), length);
      mappings.push(mapping);
      return mapping;
    },
  });
  kernel.texts.set(`${FOLDER}/vfio-dev/vfio7/dev`, "511:7\n");
  kernel.links.set("/sys/class/vfio-dev/vfio7", `${FOLDER}/vfio-dev/vfio7`);
  kernel.links.set(`${FOLDER}/vfio-dev/vfio7/device`, FOLDER);
  kernel.nodes.set("/dev/iommu", () => fakeIommufd(kernel, fake.failing));
  kernel.nodes.set(CDEV_PATH, () => {
    const device = fakeDevice(fake);
    let bound = false;
    return {
      ...device,
      ioctl(request, arg): number {
        const errno = fake.failing?.get(request);
        if (errno !== undefined) return fail(errno);
        if (request === uapi.VFIO_DEVICE_BIND_IOMMUFD) {
          const { flags, argsz } = uapi.vfioDeviceBindIommufd.unpack(arg as Buffer);
          if (flags !== 0) {
            const { token_uuid_ptr } = uapi.vfioDeviceBindIommufdToken.unpack(arg as Buffer);
            const { bytes } = mappings.find(({ address }) => address === token_uuid_ptr)!;
            tokens.push([...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(""));
          }
          kernel.log.push(`bind argsz ${argsz}`);
          bound = true;
          return 0;
        }
        if (!bound) return fail("EINVAL");
        if (request === uapi.VFIO_DEVICE_ATTACH_IOMMUFD_PT) {
          kernel.log.push(`attach ${uapi.vfioDeviceAttachIommufdPt.unpack(arg as Buffer).pt_id}`);
          return 0;
        }
        return device.ioctl!(request, arg);
      },
    };
  });
  return { kernel, tokens };
}

function fakeIommufd(
  kernel: FakeKernel,
  failing: ReadonlyMap<number, ErrnoName> | undefined,
): FakeFile {
  let next = 1;
  return {
    ioctl(request, arg): number {
      const errno = failing?.get(request);
      if (errno !== undefined) return fail(errno);
      switch (request) {
        case uapi.IOMMU_IOAS_ALLOC:
          uapi.iommuIoasAlloc.pack({ out_ioas_id: next++ }, arg as Buffer);
          return 0;
        case uapi.IOMMU_DESTROY:
          kernel.log.push(`destroy ${uapi.iommuDestroy.unpack(arg as Buffer).id}`);
          return 0;
        default:
          return fail("ENOTTY");
      }
    },
  };
}
