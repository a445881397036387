/**
 * What is asked about an iommufd's page tables that track dirty pages: raw ioctls, by a device that
 * can be made to write.
 *
 * @module
 */

import {
  type Kernel,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Mapping,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
} from "../../../src/kernel/kernel.ts";
import * as uapi from "../../../src/uapi/mod.ts";

/** Bytes of a page. */
export const PAGE = 4096n;
/** Where page 0 is: the mock IOMMU of the kernel's own tests maps nothing below. */
export const BASE = 0x100_0000n;
/** Bytes of memory to map. */
const RAM = 256 * Number(PAGE);

type Bytes = Uint8Array<ArrayBuffer>;

/** A device behind an IOMMU, bound to an iommufd. */
export interface BoundDevice {
  /** Its id in the iommufd. */
  readonly id: number;
  /** Attaches it, in place of what it was attached to. */
  attach(table: number): void;
  /** It writes to an address of a page table that it is attached to, and that tracks. */
  write(table: number, iova: bigint): void;
  /** Detaches and unbinds it. */
  close(): void;
}

/** A kernel with two devices. */
export interface HwptHost {
  readonly kernel: Kernel;
  /** Binds a device and attaches it to an IOAS. */
  bind(iommufd: number, ioas: number, tracks: boolean): BoundDevice;
}

/** What to say in place of what is right. */
export interface Instead {
  readonly size?: number;
  readonly flags?: number;
  readonly reserved?: number;
  readonly table?: number;
  readonly pageSize?: bigint;
  readonly data?: bigint;
  /** What the first word of the bitmap's memory is before. */
  readonly before?: bigint;
}

/** A process that asks. */
export class HwptAsker implements Disposable {
  readonly host: HwptHost;
  iommufd = -1;
  ioas = 0;
  /** A page table that tracks, to which the device is attached. */
  hwpt = 0;
  /** A page table that does not. */
  plain = 0;
  readonly #opened = new DisposableStack();
  #device: BoundDevice | null = null;
  #other: BoundDevice | null = null;
  readonly #ram: Mapping;
  readonly #bits: Mapping;

  constructor(host: HwptHost) {
    this.host = host;
    this.#ram = this.#memory(RAM);
    this.#bits = this.#memory(4096);
  }

  #memory(size: number): Mapping {
    return this.#opened.use(this.host.kernel.mmap(size, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    }));
  }

  /** Opens the iommufd, binds both devices, and attaches them to an IOAS. */
  open(): void {
    const { kernel } = this.host;
    this.iommufd = kernel.open("/dev/iommu", O_RDWR);
    this.#opened.defer(() => kernel.close(this.iommufd));
    const argument = uapi.iommuIoasAlloc.pack({});
    this.ioctl(uapi.IOMMU_IOAS_ALLOC, argument);
    this.ioas = uapi.iommuIoasAlloc.unpack(argument).out_ioas_id;
    this.#device = this.host.bind(this.iommufd, this.ioas, true);
    this.#other = this.host.bind(this.iommufd, this.ioas, false);
  }

  get device(): BoundDevice {
    return this.#device!;
  }

  /** A device whose IOMMU does not track. */
  get other(): BoundDevice {
    return this.#other!;
  }

  /** Unbinds both devices. */
  unbind(): void {
    this.#device?.close();
    this.#other?.close();
    this.#device = this.#other = null;
  }

  ioctl(request: number, argument: Bytes | number = 0): void {
    this.host.kernel.ioctl(this.iommufd, request, argument);
  }

  hwInfo(dev_id: number, instead: Instead & { behind?: number } = {}): string {
    const { size = 40, flags = 0, reserved = 0, behind = 0 } = instead;
    const argument = new Uint8Array(Math.max(size, 40));
    const __reserved = new Uint8Array([reserved, 0, 0]);
    argument.set(uapi.iommuHwInfo.pack({ size, dev_id, flags, __reserved }));
    if (size > 40) argument[40] = behind;
    this.ioctl(uapi.IOMMU_GET_HW_INFO, argument);
    return `capabilities 0x${uapi.iommuHwInfo.unpack(argument).out_capabilities.toString(16)}`;
  }

  allocate(
    dev_id: number,
    pt_id: number,
    instead: Partial<uapi.IommuHwptAlloc> = {},
  ): number {
    const argument = uapi.iommuHwptAlloc.pack({ dev_id, pt_id, ...instead });
    this.ioctl(uapi.IOMMU_HWPT_ALLOC, argument);
    return uapi.iommuHwptAlloc.unpack(argument).out_hwpt_id;
  }

  track(on: boolean, { table = this.hwpt, flags, size }: Instead = {}): void {
    const argument = uapi.iommuHwptSetDirtyTracking.pack({
      ...(size === undefined ? {} : { size }),
      hwpt_id: table,
      flags: flags ?? (on ? uapi.IOMMU_HWPT_DIRTY_TRACKING_ENABLE : 0),
    });
    this.ioctl(uapi.IOMMU_HWPT_SET_DIRTY_TRACKING, argument);
  }

  destroy(id: number): void {
    this.ioctl(uapi.IOMMU_DESTROY, uapi.iommuDestroy.pack({ id }));
  }

  map(first: number, count: number): void {
    this.ioctl(
      uapi.IOMMU_IOAS_MAP,
      uapi.iommuIoasMap.pack({
        flags: uapi.IOMMU_IOAS_MAP_FIXED_IOVA | uapi.IOMMU_IOAS_MAP_READABLE |
          uapi.IOMMU_IOAS_MAP_WRITEABLE,
        ioas_id: this.ioas,
        user_va: this.#ram.address,
        length: BigInt(count) * PAGE,
        iova: at(first),
      }),
    );
  }

  unmap(first: number, count: number): void {
    const range = { iova: at(first), length: BigInt(count) * PAGE };
    this.ioctl(
      uapi.IOMMU_IOAS_UNMAP,
      uapi.iommuIoasUnmap.pack({ ioas_id: this.ioas, ...range }),
    );
  }

  /** The device writes to pages. */
  write(...pages: number[]): void {
    for (const page of pages) this.device.write(this.hwpt, at(page));
  }

  /** The bits that a read of pages sets, by number. */
  read(first: number, count: number, instead: Instead = {}): string {
    return this.readAt(at(first), BigInt(count) * PAGE, instead);
  }

  readAt(iova: bigint, length: bigint, instead: Instead = {}): string {
    const words = 512;
    const bits = new BigUint64Array(words);
    bits[0] = instead.before ?? 0n;
    this.#bits.write(0, new Uint8Array(bits.buffer));
    this.ioctl(
      uapi.IOMMU_HWPT_GET_DIRTY_BITMAP,
      uapi.iommuHwptGetDirtyBitmap.pack({
        size: instead.size ?? 48,
        hwpt_id: instead.table ?? this.hwpt,
        flags: instead.flags ?? 0,
        __reserved: instead.reserved ?? 0,
        iova,
        length,
        page_size: instead.pageSize ?? PAGE,
        data: instead.data ?? this.#bits.address,
      }),
    );
    this.#bits.read(0, new Uint8Array(bits.buffer));
    const set: number[] = [];
    for (let bit = 0; bit < 64 * words; bit += 1) {
      if ((bits[bit >>> 6]! >> BigInt(bit % 64) & 1n) === 1n) set.push(bit);
    }
    return set.length === 64 ? "all of the first word" : set.join(" ");
  }

  close(): void {
    this.unbind();
    this.#opened.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function at(page: number): bigint {
  return BASE + BigInt(page) * PAGE;
}
