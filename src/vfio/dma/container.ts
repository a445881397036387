/**
 * The type1 container: an address space that its groups share.
 *
 * @module
 */

import { cleanedUp } from "../../base/cleanup.ts";
import { isErrno, SysError } from "../../kernel/sys_error.ts";
import { Fd } from "../../kernel/fd.ts";
import { type Kernel, O_RDWR } from "../../kernel/kernel.ts";
import {
  VFIO_API_VERSION,
  VFIO_CHECK_EXTENSION,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_GET_API_VERSION,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  type VfioBitmap,
  vfioBitmap,
  vfioIommuType1DirtyBitmap,
  type VfioIommuType1DirtyBitmapGet,
  vfioIommuType1DirtyBitmapGet,
  vfioIommuType1DmaMap,
  vfioIommuType1DmaUnmap,
  vfioIommuType1Info,
} from "../../uapi/mod.ts";
import { requireUnchanged, requireUnmapped } from "../device/answer_fields.ts";
import { ioctl } from "../ioctl.ts";
import { KnownMappings } from "./_known_mappings.ts";
import { opening } from "../open/explain_opening.ts";
import type { AddressSpace, DmaMapping } from "./address_space.ts";
import { DmaError } from "./dma_error.ts";
import { type Group, inContainer } from "../open/group.ts";
import { formatIova, IOVA_END, type IovaMapping } from "./iova.ts";
import { mapError, type RefusalContext, unmapError } from "./map_error.ts";
import { memlockLimit } from "../reasons/memlock.ts";
import { noType1v2, wrongApiVersion } from "../reasons/reasons.ts";
import type { SysfsDevice } from "../sysfs/sysfs.ts";
import { readType1Info, type Type1Info } from "./type1_info.ts";
import { UnsupportedError } from "../reasons/unsupported_error.ts";

/** The container's character device. */
export const CONTAINER_PATH = "/dev/vfio/vfio";

/**
 * A container with the type1v2 IOMMU model. It has an IOMMU, and mappings in it, as long as it has
 * a group: the kernel drops both when the last group leaves.
 */
export class Type1Container implements AddressSpace, Disposable {
  /** The container's fd. */
  readonly fd: Fd;
  /** The kernel that the container is in. */
  readonly kernel: Kernel;
  readonly #known = new KnownMappings();
  /** Whether an IOMMU was ever set; the container loses it when the last group leaves. */
  #iommuSet: boolean;

  private constructor(kernel: Kernel, fd: Fd, iommuSet: boolean) {
    this.kernel = kernel;
    this.fd = fd;
    this.#iommuSet = iommuSet;
  }

  /**
   * Opens a new container; it has no IOMMU until a group is attached.
   *
   * @param sysfs The device that it is opened for, if known; it makes errors more precise.
   * @throws {UnsupportedError} If VFIO is missing, not permitted, or has no type1v2.
   * @throws {OpenError} If it fails for another reason.
   */
  static open(kernel: Kernel, sysfs?: SysfsDevice): Type1Container {
    const path = CONTAINER_PATH;
    const number = opening(
      "open container",
      { kernel, path, sysfs },
      () => kernel.open(path, O_RDWR),
    );
    const fd = Fd.own(kernel, number, `container ${path}`);
    try {
      requireType1v2(kernel, fd);
      return new Type1Container(kernel, fd, false);
    } catch (error) {
      throw cleanedUp(error, () => fd.close());
    }
  }

  /** Uses a container that the caller owns and closes. */
  static borrow(kernel: Kernel, fd: number): Type1Container {
    return new Type1Container(kernel, Fd.borrow(kernel, fd, `container fd ${fd}`), true);
  }

  /**
   * Puts a group into the container. With the first group, and with the first after all have left,
   * the container gets an IOMMU, in which nothing is mapped.
   *
   * @throws {UnsupportedError} If a driver of the host holds the group, the firmware reserves it,
   * or the IOMMU cannot isolate its interrupts.
   * @throws {OpenError} If it fails for another reason.
   */
  attach(group: Group): void {
    const { kernel } = this;
    const hadIommu = this.hasIommu;
    const situation = {
      kernel,
      group: group.number,
      hadIommu,
      hasContainer: () => inContainer(group),
    };
    const argument = new Uint8Array(new ArrayBuffer(4));
    new DataView(argument.buffer).setInt32(0, this.fd.number, true);
    opening("VFIO_GROUP_SET_CONTAINER", situation, () => {
      ioctl(group.fd, { VFIO_GROUP_SET_CONTAINER }, argument);
    });
    // Check again: the earlier groups may have left before this one joined.
    if (hadIommu && this.hasIommu) return;
    this.#known.clear();
    opening("VFIO_SET_IOMMU", situation, () => {
      ioctl(this.fd, { VFIO_SET_IOMMU }, VFIO_TYPE1v2_IOMMU);
    });
    this.#iommuSet = true;
  }

  /**
   * Whether the container has its IOMMU: it gets one with its first group, and loses it, with all
   * mappings, when the last group leaves. Only the kernel knows, which is asked each time: a group
   * leaves when its last fd is closed, in any process.
   */
  get hasIommu(): boolean {
    if (!this.#iommuSet) return false;
    try {
      ioctl(this.fd, { VFIO_IOMMU_GET_INFO }, vfioIommuType1Info.pack({}));
      return true;
    } catch (error) {
      return !isErrno(error, "EINVAL");
    }
  }

  /** Clears the known mappings if the last group has left; returns whether it has. */
  #clearIfNoIommu(): boolean {
    if (this.hasIommu) return false;
    this.#known.clear();
    return true;
  }

  /**
   * Reads page sizes, IOVA ranges and the dirty tracking capability. Every call asks the kernel
   * again, because they depend on the groups in the container.
   *
   * @throws {SysError} If the ioctl fails: EINVAL while no group is attached.
   * @throws {CapabilityError} If the capabilities are broken.
   */
  info(): Type1Info {
    return readType1Info(this.fd);
  }

  /**
   * Maps memory for DMA (VFIO_IOMMU_MAP_DMA).
   *
   * @throws {DmaError} EEXIST, EINVAL, ENOSPC (too many mappings), ENOMEM (the
   * memlock limit), EFAULT. The error says why, and what to do.
   * @throws {RangeError} If a number does not fit its field.
   */
  map({ iova, size, vaddr, flags }: DmaMapping): void {
    const mapping = { iova, size, vaddr, flags };
    const argument = vfioIommuType1DmaMap.pack(mapping);
    try {
      ioctl(this.fd, { VFIO_IOMMU_MAP_DMA }, argument);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (error.code === "EINVAL" && this.#clearIfNoIommu()) {
        throw new DmaError(
          `Cannot map ${formatIova(mapping)} for DMA`,
          "no group is in the container, so it has no IOMMU; its mappings are gone",
          "Put a group into it first",
          error,
        );
      }
      throw mapError(error, mapping, this.#context());
    }
    this.#iommuSet = true;
    this.#known.add(mapping);
  }

  /**
   * Unmaps mappings (VFIO_IOMMU_UNMAP_DMA).
   *
   * @param bitmap Memory for the last dirty pages, if they are tracked: zeroed, with one bit per
   * page of the range. Unmap one mapping per call: Linux 5.10 mixes up the bits of several.
   * @returns The number of bytes unmapped, as the kernel counts them; 0 if the container has no
   * group, so that nothing is mapped. Before Linux 6.19 it is always 0 for a range that ends at
   * 2^64, which stays mapped until the container is closed.
   * @throws {DmaError} EINVAL if the range is empty, not aligned, or cuts a mapping, or if dirty
   * pages are requested and not tracked; EFAULT if the bitmap cannot be written: the mappings
   * before the one that failed are then gone, but still in {@linkcode Type1Container.mappings}.
   * @throws {AnswerError} If the kernel's answer cannot be true. The mappings are gone.
   * @throws {RangeError} If a number does not fit its field.
   */
  unmap(iova: bigint, size: bigint, bitmap?: VfioBitmap): bigint {
    const argument = vfioIommuType1DmaUnmap.pack(
      bitmap === undefined ? { iova, size } : {
        flags: VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
        iova,
        size,
        data: vfioBitmap.pack(bitmap),
      },
    );
    const sent = argument.slice();
    try {
      ioctl(this.fd, { VFIO_IOMMU_UNMAP_DMA }, argument);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      // When the last group left, the kernel removed all mappings and their dirty pages.
      if (error.code === "EINVAL" && bitmap === undefined && this.#clearIfNoIommu()) return 0n;
      throw unmapError(error, { iova, size }, this.#context());
    }
    const layout = vfioIommuType1DmaUnmap;
    const unmapped = new DataView(argument.buffer).getBigUint64(layout.offsetOf("size"), true);
    // Before Linux 6.19 the kernel unmaps nothing from a range that ends at 2^64.
    if (unmapped === 0n && iova + size === IOVA_END) return unmapped;
    this.#known.forgetIn({ iova, size });
    const request = { name: "VFIO_IOMMU_UNMAP_DMA", fd: this.fd };
    requireUnchanged(layout, ["argsz", "flags", "iova"], { sent, answer: argument }, request);
    requireUnmapped(unmapped, size, `${layout.name}.size`, request);
    return unmapped;
  }

  /**
   * Starts or stops tracking of dirty pages, or reads them
   * (VFIO_IOMMU_DIRTY_PAGES).
   *
   * @param flags One of VFIO_IOMMU_DIRTY_PAGES_FLAG_*.
   * @param get With FLAG_GET_BITMAP: the range of pages, and the memory for their bits.
   * @throws {SysError} If the ioctl fails.
   * @throws {RangeError} If a number does not fit its field.
   */
  dirtyPages(flags: number, get?: VfioIommuType1DirtyBitmapGet): void {
    const argument = vfioIommuType1DirtyBitmap.pack(
      get === undefined ? { flags } : { flags, data: vfioIommuType1DirtyBitmapGet.pack(get) },
    );
    ioctl(this.fd, { VFIO_IOMMU_DIRTY_PAGES }, argument);
  }

  #context(): RefusalContext {
    let info: Type1Info | null = null;
    try {
      info = this.info();
    } catch {
      // The caller needs the refusal's error; it only says less.
    }
    const memlock = memlockLimit(this.kernel);
    return { info, mappings: this.#known.list, memlock, where: "container" };
  }

  /**
   * The known mappings, by ascending iova: made through this object, or added by
   * {@linkcode Type1Container.know}. Empty once the last group has left.
   */
  get mappings(): readonly IovaMapping[] {
    if (this.#known.size > 0) this.#clearIfNoIommu();
    return this.#known.list;
  }

  /**
   * Adds a mapping that other code made, such as the owner of a borrowed container.
   *
   * @throws {RangeError} If it is empty, or overlaps a known mapping.
   */
  know(mapping: IovaMapping): void {
    this.#known.know(mapping);
  }

  /** Removes a known mapping that was unmapped elsewhere; the kernel is not called. */
  forget(iova: bigint): void {
    this.#known.forget(iova);
  }

  /** Closes the container if it is owned; the kernel unmaps everything with the last fd. */
  close(): void {
    if (this.fd.owned) this.#known.clear();
    this.fd.close();
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function requireType1v2(kernel: Kernel, fd: Fd): void {
  const version = opening(
    "VFIO_GET_API_VERSION",
    { kernel },
    () => ioctl(fd, { VFIO_GET_API_VERSION }),
  );
  if (version !== VFIO_API_VERSION) throw new UnsupportedError([wrongApiVersion(version)]);
  const has = opening(
    "VFIO_CHECK_EXTENSION",
    { kernel },
    () => ioctl(fd, { VFIO_CHECK_EXTENSION }, VFIO_TYPE1v2_IOMMU),
  );
  if (has === 0) throw new UnsupportedError([noType1v2()]);
}
