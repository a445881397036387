/**
 * Who asks the questions about a device's own character device and /dev/iommu:
 * raw ioctls, and memory to ask them about.
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
import * as uapi from "../../../src/uapi/mod.ts";
import type { AskedOf } from "../../dirty/type1_cases/case.ts";
import type { DeviceDma } from "../../dirty/type1_cases/device_dma.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The kernel that is asked, and the device that it is asked with. */
export interface CdevHost extends AskedOf {
  readonly kernel: Kernel;
  /** The device's own node. */
  readonly node: string;
  /** Its group's. */
  readonly group: string;
}

/** Bytes of a page. */
export const PAGE = 4096n;
/** The largest number. */
export const ULONG_MAX: bigint = (1n << 64n) - 1n;
/** An address that no process has anything at. */
export const NOT_MAPPED = 0x1_0000n;
/** Mapped where it is said, to be read and written. */
export const FIXED_RW: number = uapi.IOMMU_IOAS_MAP_FIXED_IOVA |
  uapi.IOMMU_IOAS_MAP_READABLE | uapi.IOMMU_IOAS_MAP_WRITEABLE;

const RAM_PAGES = 1024;

/** What to say in an IOAS_MAP, in place of what is right. */
export interface Instead {
  readonly size?: number;
  readonly flags?: number;
  readonly ioas?: number;
  readonly reserved?: number;
  readonly vaddr?: bigint;
  /** What is behind the struct. */
  readonly behind?: number;
}

/** A process that asks. */
export class CdevAsker implements Disposable {
  readonly host: CdevHost;
  iommufd = -1;
  device = -1;
  ioas = 0;
  /** Memory to map for DMA. */
  readonly ram: Mapping;
  readonly #others: number[] = [];

  constructor(host: CdevHost) {
    this.host = host;
    this.ram = host.kernel.mmap(RAM_PAGES * Number(PAGE), {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
  }

  /** Opens device and iommufd, binds and attaches. */
  open(): void {
    this.iommufd = this.host.kernel.open("/dev/iommu", O_RDWR);
    this.device = this.host.kernel.open(this.host.node, O_RDWR);
    this.bind();
    this.ioas = this.allocate();
    this.attach(this.ioas);
  }

  /** Opens something that is closed in the end. */
  openOther(path: string): number {
    const fd = this.host.kernel.open(path, O_RDWR);
    this.#others.push(fd);
    return fd;
  }

  closeOther(): void {
    this.host.kernel.close(this.#others.pop()!);
  }

  memfd(): number {
    const fd = this.host.kernel.memfd("cdev-cases", 4096);
    this.#others.push(fd);
    return fd;
  }

  ioctl(fd: number, request: number, arg: Bytes | number = 0): number {
    return this.host.kernel.ioctl(fd, request, arg);
  }

  /** VFIO_DEVICE_GET_INFO of a device. */
  info(fd: number = this.device): void {
    this.ioctl(fd, uapi.VFIO_DEVICE_GET_INFO, uapi.vfioDeviceInfo.pack({}));
  }

  /** VFIO_DEVICE_FEATURE, asking for MIGRATION. */
  feature(): void {
    const flags = uapi.VFIO_DEVICE_FEATURE_PROBE | uapi.VFIO_DEVICE_FEATURE_GET |
      uapi.VFIO_DEVICE_FEATURE_MIGRATION;
    this.ioctl(this.device, uapi.VFIO_DEVICE_FEATURE, uapi.vfioDeviceFeature.pack({ flags }));
  }

  mmapDevice(): void {
    const { kernel } = this.host;
    kernel.mmap(4096, { fd: this.device, prot: PROT_READ, flags: MAP_SHARED }).close();
  }

  bind(
    instead: { argsz?: number; flags?: number; iommufd?: number; device?: number } = {},
  ): string {
    const { device = this.device, ...fields } = instead;
    const argument = uapi.vfioDeviceBindIommufd.pack({ iommufd: this.iommufd, ...fields });
    this.ioctl(device, uapi.VFIO_DEVICE_BIND_IOMMUFD, argument);
    return `device ${uapi.vfioDeviceBindIommufd.unpack(argument).out_devid}`;
  }

  attach(pt_id: number, instead: { argsz?: number; flags?: number } = {}): string {
    const argument = uapi.vfioDeviceAttachIommufdPt.pack({ pt_id, ...instead });
    this.ioctl(this.device, uapi.VFIO_DEVICE_ATTACH_IOMMUFD_PT, argument);
    return `table ${uapi.vfioDeviceAttachIommufdPt.unpack(argument).pt_id}`;
  }

  detach(instead: { argsz?: number; flags?: number } = {}): void {
    const argument = uapi.vfioDeviceDetachIommufdPt.pack(instead);
    this.ioctl(this.device, uapi.VFIO_DEVICE_DETACH_IOMMUFD_PT, argument);
  }

  /** IOMMU_IOAS_ALLOC, `size` bytes of which `behind` is the first that the kernel does not know. */
  allocate(size = 12, flags = 0, behind = 0): number {
    const argument = new Uint8Array(Math.max(size, 12));
    argument.set(uapi.iommuIoasAlloc.pack({ size, flags }));
    if (size > 12) argument[12] = behind;
    this.ioctl(this.iommufd, uapi.IOMMU_IOAS_ALLOC, argument);
    return uapi.iommuIoasAlloc.unpack(argument).out_ioas_id;
  }

  destroy(id: number): void {
    this.ioctl(this.iommufd, uapi.IOMMU_DESTROY, uapi.iommuDestroy.pack({ id }));
  }

  /** Maps pages of the memory. */
  map(first: number, count: number, instead: Instead = {}): string {
    const vaddr = this.ram.address + BigInt(first % RAM_PAGES) * PAGE;
    return this.mapAt(BigInt(first) * PAGE, BigInt(count) * PAGE, { vaddr, ...instead });
  }

  mapAt(iova: bigint, length: bigint, instead: Instead = {}): string {
    const { size = 40, behind = 0 } = instead;
    const argument = new Uint8Array(Math.max(size, 40));
    argument.set(uapi.iommuIoasMap.pack({
      size,
      flags: instead.flags ?? FIXED_RW,
      ioas_id: instead.ioas ?? this.ioas,
      __reserved: instead.reserved ?? 0,
      user_va: instead.vaddr ?? this.ram.address,
      length,
      iova,
    }));
    if (size > 40) argument[40] = behind;
    this.ioctl(this.iommufd, uapi.IOMMU_IOAS_MAP, argument);
    const at = uapi.iommuIoasMap.unpack(argument).iova;
    return at === iova ? "" : `at 0x${at.toString(16)}`;
  }

  unmap(first: number, count: number): string {
    return this.unmapAt(BigInt(first) * PAGE, BigInt(count) * PAGE);
  }

  unmapAt(iova: bigint, length: bigint, size = 24): string {
    const argument = uapi.iommuIoasUnmap.pack({ size, ioas_id: this.ioas, iova, length });
    this.ioctl(this.iommufd, uapi.IOMMU_IOAS_UNMAP, argument);
    return `unmapped ${uapi.iommuIoasUnmap.unpack(argument).length / PAGE} pages`;
  }

  /** IOMMU_IOAS_IOVA_RANGES with room for so many. */
  ranges(room: number, instead: { reserved?: number; at?: bigint; ioas?: number } = {}): string {
    const { kernel } = this.host;
    using memory = kernel.mmap(4096, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
    const argument = uapi.iommuIoasIovaRanges.pack({
      ioas_id: instead.ioas ?? this.ioas,
      num_iovas: room,
      __reserved: instead.reserved ?? 0,
      allowed_iovas: instead.at ?? memory.address,
    });
    this.ioctl(this.iommufd, uapi.IOMMU_IOAS_IOVA_RANGES, argument);
    const { num_iovas, out_iova_alignment } = uapi.iommuIoasIovaRanges.unpack(argument);
    const bytes = new Uint8Array(16 * num_iovas);
    memory.read(0, bytes);
    const ranges = Array.from({ length: num_iovas }, (_, index) => {
      const { start, last } = uapi.iommuIovaRange.unpack(bytes, 16 * index);
      return `0x${start.toString(16)}-0x${last.toString(16)}`;
    });
    return `alignment ${out_iova_alignment}, ${ranges.join(" ")}`;
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

  closeIommufd(): void {
    if (this.iommufd >= 0) this.host.kernel.close(this.iommufd);
    this.iommufd = -1;
  }

  close(): void {
    while (this.#others.length > 0) this.closeOther();
    this.closeDevice();
    this.closeIommufd();
    this.ram.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
