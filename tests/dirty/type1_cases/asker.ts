/**
 * Who asks the type1 questions: raw ioctls, and memory to ask them about. It
 * reads and writes the structs by itself, so that it can also write wrong ones.
 *
 * @module
 */

import {
  type Kernel,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MAP_SHARED,
  type Mapping,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
} from "../../../src/kernel/kernel.ts";
import {
  VFIO_CHECK_EXTENSION,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  vfioBitmap,
  vfioInfoCapHeader,
  vfioIommuType1DirtyBitmapGet,
  vfioIommuType1DmaMap,
  vfioIommuType1Info,
  vfioIommuType1InfoCapIovaRange,
  vfioIommuType1InfoCapMigration,
  vfioIommuType1InfoDmaAvail,
} from "../../../src/uapi/mod.ts";
import type { DeviceDma } from "./device_dma.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The kernel that is asked, and the device that it is asked with. */
export interface Host {
  readonly kernel: Kernel;
  /** Its version: `6.1`. */
  readonly version: string;
  /** The group's node. */
  readonly group: string;
  /** The device's name in the group. */
  readonly device: string;
  /** Whether IOMMU hardware stands before the device. */
  readonly hardware: boolean;
  /** How to make the device write and pin; null where it cannot be told to. */
  readonly dma: DeviceDma | null;
}

/** Bytes of a page. */
export const PAGE = 4096n;
export const RW: number = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
/** An address that no process has anything at, and one that none can have. */
export const NOT_MAPPED = 0x1_0000n;
export const KERNEL_ADDRESS = 0xffff_8880_0000_0000n;

/** So many pages, in bytes. */
export function pages(count: number): bigint {
  return BigInt(count) * PAGE;
}

const RAM_PAGES = 1024;
/** The bitmap's memory ends here, in the middle of what is mapped: what is behind is EFAULT. */
const BITMAP_BYTES = 4096;

/** What to say in a GET_BITMAP or an UNMAP with a bitmap, in place of what is right. */
export interface Instead {
  readonly iova?: bigint;
  readonly size?: bigint;
  readonly pgsize?: bigint;
  /** Bytes of the bitmap. */
  readonly bytes?: bigint;
  readonly data?: bigint;
  readonly argsz?: number;
  readonly flags?: number;
  /** What the bitmap's memory is filled with before. */
  readonly prefill?: number;
}

/** A process that asks. */
export class Asker implements Disposable {
  readonly host: Host;
  container = -1;
  group = -1;
  device = -1;
  /** Memory to map for DMA; its page n is what pages from n on are backed by. */
  readonly ram: Mapping;
  readonly #memfd: number;
  readonly #bitmap: Mapping;

  constructor(host: Host) {
    this.host = host;
    const { kernel } = host;
    this.ram = kernel.mmap(RAM_PAGES * Number(PAGE), {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
    this.#memfd = kernel.memfd("type1-cases", BITMAP_BYTES);
    this.#bitmap = kernel.mmap(2 * BITMAP_BYTES, {
      fd: this.#memfd,
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_SHARED,
    });
  }

  /** Opens container, group and device. */
  open(type: number = VFIO_TYPE1v2_IOMMU): void {
    this.container = this.host.kernel.open("/dev/vfio/vfio", O_RDWR);
    this.group = this.host.kernel.open(this.host.group, O_RDWR);
    this.setContainer();
    this.ioctl(this.container, VFIO_SET_IOMMU, type);
    this.device = this.openDevice();
  }

  setContainer(): void {
    const argument = new Uint8Array(4);
    new DataView(argument.buffer).setInt32(0, this.container, true);
    this.ioctl(this.group, VFIO_GROUP_SET_CONTAINER, argument);
  }

  openDevice(name: string = this.host.device): number {
    return this.ioctl(this.group, VFIO_GROUP_GET_DEVICE_FD, new TextEncoder().encode(`${name}\0`));
  }

  ioctl(fd: number, request: number, arg: Bytes | number = 0): number {
    return this.host.kernel.ioctl(fd, request, arg);
  }

  extension(number: number): string {
    return `says ${this.ioctl(this.container, VFIO_CHECK_EXTENSION, number)}`;
  }

  /** The container's ioctl on a struct of which only these words are given; argsz first. */
  #call(request: number, argsz: number, flags: number, data: Bytes): Bytes {
    const argument = new Uint8Array(8 + data.length);
    argument.set(data, 8);
    const view = new DataView(argument.buffer);
    view.setUint32(0, argsz, true);
    view.setUint32(4, flags, true);
    this.ioctl(this.container, request, argument);
    return argument;
  }

  info(argsz: number): string {
    const answer = this.#call(VFIO_IOMMU_GET_INFO, argsz, 0, new Uint8Array(1024));
    const info = vfioIommuType1Info.unpack(answer);
    const words = [
      `flags 0x${info.flags.toString(16)} argsz ${info.argsz}`,
      `pgsizes 0x${info.iova_pgsizes.toString(16)} cap_offset ${info.cap_offset}`,
    ];
    for (let at = info.cap_offset; at !== 0;) {
      const { id, version, next } = vfioInfoCapHeader.unpack(answer, at);
      words.push(`| ${id} v${version} at ${at}: ${capabilityText(id, answer, at)}`);
      at = next;
    }
    return words.join(" ");
  }

  /** Maps pages of `ram`. */
  map(first: number, count: number, flags: number = RW): void {
    this.mapAt(pages(first), pages(count), this.ram.address + pages(first % RAM_PAGES), flags);
  }

  mapAt(iova: bigint, size: bigint, vaddr: bigint, flags: number = RW): void {
    this.ioctl(
      this.container,
      VFIO_IOMMU_MAP_DMA,
      vfioIommuType1DmaMap.pack({ iova, size, vaddr, flags }),
    );
  }

  unmap(first: number, count: number, flags = 0): string {
    return this.unmapAt(pages(first), pages(count), flags);
  }

  unmapAt(iova: bigint, size: bigint, flags = 0, argsz = 24): string {
    const range = new Uint8Array(16);
    const view = new DataView(range.buffer);
    view.setBigUint64(0, iova, true);
    view.setBigUint64(8, size, true);
    const answer = this.#call(VFIO_IOMMU_UNMAP_DMA, argsz, flags, range);
    return `unmapped ${new DataView(answer.buffer).getBigUint64(16, true) / PAGE} pages`;
  }

  /** DIRTY_PAGES with these flags and nothing else. */
  dirty(flags: number, argsz = 8): void {
    this.#call(VFIO_IOMMU_DIRTY_PAGES, argsz, flags, new Uint8Array(64));
  }

  /** The struct vfio_bitmap for so many pages, and the memory for it. */
  #bitmapFor(count: number, instead: Instead): { bitmap: Bytes; words: () => string } {
    const bytes = Math.max(8, Math.ceil(count / 64) * 8);
    this.#bitmap.write(0, new Uint8Array(BITMAP_BYTES).fill(instead.prefill ?? 0));
    const bitmap = vfioBitmap.pack({
      pgsize: instead.pgsize ?? PAGE,
      size: instead.bytes ?? BigInt(bytes),
      data: instead.data ?? this.#bitmap.address,
    });
    return {
      bitmap,
      words: () => {
        const back = new Uint8Array(bytes);
        this.#bitmap.read(0, back);
        const view = new DataView(back.buffer);
        return Array.from(
          { length: bytes / 8 },
          (_, i) => view.getBigUint64(i * 8, true).toString(16).padStart(16, "0"),
        ).join(" ");
      },
    };
  }

  /** GET_BITMAP of pages; the words of the bitmap. */
  get(first: number, count: number, instead: Instead = {}): string {
    const { bitmap, words } = this.#bitmapFor(count, instead);
    const get = vfioIommuType1DirtyBitmapGet.pack({
      iova: instead.iova ?? pages(first),
      size: instead.size ?? pages(count),
    });
    get.set(bitmap, 16);
    const flags = instead.flags ?? VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
    this.#call(VFIO_IOMMU_DIRTY_PAGES, instead.argsz ?? 48, flags, get);
    return words();
  }

  /** UNMAP_DMA of pages with their last bits. */
  unmapWithBitmap(first: number, count: number, instead: Instead = {}): string {
    const { bitmap, words } = this.#bitmapFor(count, instead);
    const range = new Uint8Array(40);
    const view = new DataView(range.buffer);
    view.setBigUint64(0, instead.iova ?? pages(first), true);
    view.setBigUint64(8, instead.size ?? pages(count), true);
    range.set(bitmap, 16);
    const flags = instead.flags ?? VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
    const answer = this.#call(VFIO_IOMMU_UNMAP_DMA, instead.argsz ?? 48, flags, range);
    const unmapped = new DataView(answer.buffer).getBigUint64(16, true) / PAGE;
    return `unmapped ${unmapped} pages, ${words()}`;
  }

  /** An address for a bitmap whose second word is in no memory. */
  get bitmapAtTheEdge(): bigint {
    return this.#bitmap.address + BigInt(BITMAP_BYTES) - 8n;
  }

  /** An address for a bitmap that is not a multiple of 8. */
  get bitmapOdd(): bigint {
    return this.#bitmap.address + 1n;
  }

  get dma(): DeviceDma {
    if (this.host.dma === null) throw new TypeError("Cannot tell this device to do DMA");
    return this.host.dma;
  }

  /** Closes the device, if it is open. */
  closeDevice(): void {
    if (this.device >= 0) this.host.kernel.close(this.device);
    this.device = -1;
  }

  close(): void {
    this.closeDevice();
    for (const fd of [this.group, this.container]) if (fd >= 0) this.host.kernel.close(fd);
    this.group = this.container = -1;
    this.#bitmap.close();
    this.host.kernel.close(this.#memfd);
    this.ram.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function capabilityText(id: number, bytes: Bytes, at: number): string {
  switch (id) {
    case 1:
      return vfioIommuType1InfoCapIovaRange.unpack(bytes, at).iova_ranges
        .map(({ start, end }) => `0x${start.toString(16)}-0x${end.toString(16)}`).join(" ");
    case 2: {
      const migration = vfioIommuType1InfoCapMigration.unpack(bytes, at);
      return `pgsize_bitmap 0x${migration.pgsize_bitmap.toString(16)} ` +
        `max_dirty_bitmap_size ${migration.max_dirty_bitmap_size}`;
    }
    case 3:
      return `avail ${vfioIommuType1InfoDmaAvail.unpack(bytes, at).avail}`;
    default:
      return "";
  }
}
