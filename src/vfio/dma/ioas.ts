/**
 * The IOAS: an address space of an iommufd.
 *
 * @module
 */

import { cleanly } from "../../base/cleanup.ts";
import { isErrno, SysError } from "../../kernel/sys_error.ts";
import {
  type Kernel,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
} from "../../kernel/kernel.ts";
import {
  IOMMU_IOAS_IOVA_RANGES,
  IOMMU_IOAS_MAP,
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
  IOMMU_IOAS_UNMAP,
  iommuIoasIovaRanges,
  iommuIoasMap,
  iommuIoasUnmap,
  iommuIovaRange,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
} from "../../uapi/mod.ts";
import { requireUnchanged, requireUnmapped } from "../device/answer_fields.ts";
import { ioctl } from "../ioctl.ts";
import { KnownMappings } from "./_known_mappings.ts";
import type { AddressSpace, AddressSpaceInfo, DmaMapping } from "./address_space.ts";
import { AnswerError } from "../device/answer_error.ts";
import type { Iommufd } from "./iommufd.ts";
import { encloses, intersection, type IovaMapping, type IovaRange, overlap } from "./iova.ts";
import { mapError, type RefusalContext, unmapError } from "./map_error.ts";
import { memlockLimit } from "../reasons/memlock.ts";

/** The number of ranges that the first call has room for: a page of them. */
const RANGES_FIRST = 4096 / iommuIovaRange.size;
/** More ranges than any IOMMU has. */
const RANGES_MAX = 64 * RANGES_FIRST;

/**
 * An address space of an iommufd. It does not track dirty pages; a device's own log can.
 *
 * @example
 * ```ts
 * import { SimKernel } from "vfiokit/sim";
 * import { DmaMemory, Ioas, Iommufd } from "vfiokit/vfio";
 * import assert from "node:assert/strict";
 *
 * const kernel = new SimKernel("sim:trapped?cdev=1");
 * using memory = DmaMemory.allocate(kernel, 1 << 20);
 * using iommufd = Iommufd.open(kernel);
 * using ioas = Ioas.allocate(iommufd);
 * ioas.map({ iova: 0x100000n, size: 1n << 20n, vaddr: memory.address, flags: 3 });
 * assert.deepEqual(ioas.mappings, [{ iova: 0x100000n, size: 1n << 20n }]);
 * assert.equal(ioas.unmap(0x100000n, 1n << 20n), 1n << 20n);
 * ```
 */
export class Ioas implements AddressSpace, Disposable {
  /** The iommufd that it belongs to. */
  readonly iommufd: Iommufd;
  /** Its object id in the iommufd. */
  readonly id: number;
  /** Whether {@linkcode Ioas.close} destroys it. */
  readonly owned: boolean;
  readonly #known = new KnownMappings();
  #closed = false;

  private constructor(iommufd: Iommufd, id: number, owned: boolean) {
    this.iommufd = iommufd;
    this.id = id;
    this.owned = owned;
  }

  /**
   * Allocates a new IOAS.
   *
   * @throws {UnsupportedError} If the fd is not an iommufd.
   * @throws {OpenError} If the kernel refuses for another reason.
   */
  static allocate(iommufd: Iommufd): Ioas {
    return new Ioas(iommufd, iommufd.allocateIoas(), true);
  }

  /** Uses an IOAS that the caller owns and destroys. */
  static borrow(iommufd: Iommufd, id: number): Ioas {
    return new Ioas(iommufd, id, false);
  }

  get #kernel(): Kernel {
    return this.iommufd.kernel;
  }

  /**
   * Reads which ranges can be mapped (IOMMU_IOAS_IOVA_RANGES), and with which alignment. The
   * attached devices decide both; without a device there is no restriction.
   *
   * @throws {SysError} ENOENT if there is no such IOAS.
   * @throws {AnswerError} If the answer cannot be true.
   */
  info(): AddressSpaceInfo {
    for (let room = RANGES_FIRST; room <= RANGES_MAX; room *= 2) {
      const info = this.#ranges(room);
      if (info !== null) return info;
    }
    throw new AnswerError(
      `Cannot use the answer to IOMMU_IOAS_IOVA_RANGES of ${this.iommufd.fd.label}: ` +
        `it has more than ${RANGES_MAX} ranges`,
      `${iommuIoasIovaRanges.name}.num_iovas`,
    );
  }

  /** Reads the ranges into room for `room` of them; null if there are more. */
  #ranges(room: number): AddressSpaceInfo | null {
    return cleanly(() => this.#readRanges(room));
  }

  #readRanges(room: number): AddressSpaceInfo | null {
    const { size } = iommuIovaRange;
    using memory = this.#kernel.mmap(room * size, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
    const argument = iommuIoasIovaRanges.pack({
      ioas_id: this.id,
      num_iovas: room,
      allowed_iovas: memory.address,
    });
    const { fd } = this.iommufd;
    try {
      ioctl(fd, { IOMMU_IOAS_IOVA_RANGES }, argument);
    } catch (error) {
      if (isErrno(error, "EMSGSIZE")) return null;
      throw error;
    }
    const { num_iovas, out_iova_alignment } = iommuIoasIovaRanges.unpack(argument);
    if (num_iovas > room || out_iova_alignment === 0n) {
      throw new AnswerError(
        `Cannot use the answer to IOMMU_IOAS_IOVA_RANGES of ${fd.label}: ` +
          `${num_iovas} ranges, alignment ${out_iova_alignment}`,
        `${iommuIoasIovaRanges.name}.${num_iovas > room ? "num_iovas" : "out_iova_alignment"}`,
      );
    }
    const bytes = new Uint8Array(new ArrayBuffer(num_iovas * size));
    memory.read(0, bytes);
    const iovaRanges = Array.from({ length: num_iovas }, (_, index): IovaRange => {
      const { start, last } = iommuIovaRange.unpack(bytes, index * size);
      return { start, end: last };
    });
    // Every multiple of the alignment can be mapped, so all larger page sizes count too.
    return { pgsizes: BigInt.asUintN(64, -out_iova_alignment), iovaRanges };
  }

  /**
   * Maps memory for DMA (IOMMU_IOAS_MAP).
   *
   * @throws {DmaError} EEXIST, EINVAL, EOVERFLOW, ENOMEM (the memlock limit),
   * EFAULT, ENOENT. The error says why, and what to do.
   * @throws {RangeError} If a number does not fit its field, or a flag is neither READ nor WRITE.
   */
  map(mapping: DmaMapping): void {
    const { iova, size, vaddr } = mapping;
    const argument = iommuIoasMap.pack({
      flags: IOMMU_IOAS_MAP_FIXED_IOVA | accessFlags(mapping.flags),
      ioas_id: this.id,
      user_va: vaddr,
      length: size,
      iova,
    });
    try {
      ioctl(this.iommufd.fd, { IOMMU_IOAS_MAP }, argument);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      throw mapError(error, mapping, this.#context());
    }
    this.#known.add({ iova, size });
  }

  /**
   * Unmaps mappings (IOMMU_IOAS_UNMAP).
   *
   * @returns The number of bytes unmapped, as the kernel counts them; 0 if no mapping is known in
   * the range and the kernel finds none (ENOENT).
   * @throws {DmaError} EINVAL if the range is empty, EOVERFLOW if it reaches beyond 2^64, ENOENT if
   * it cuts a mapping. If that mapping is not known here, those before it are gone.
   * @throws {AnswerError} If the kernel's answer cannot be true. The mappings are gone.
   * @throws {RangeError} If a number does not fit its field.
   */
  unmap(iova: bigint, size: bigint): bigint {
    const range = { iova, size };
    const hit = this.mappings.filter((mapping) => overlap(mapping, range));
    const cut = hit.find((mapping) => !encloses(range, mapping));
    // Given the whole range, Linux would unmap what lies before the mapping that is cut.
    const requested = cut === undefined ? range : intersection(cut, range);
    const argument = iommuIoasUnmap.pack({
      ioas_id: this.id,
      iova: requested.iova,
      length: requested.size,
    });
    const sent = argument.slice();
    const { fd } = this.iommufd;
    try {
      ioctl(fd, { IOMMU_IOAS_UNMAP }, argument);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (isErrno(error, "ENOENT") && hit.length === 0 && this.owned) return 0n;
      throw unmapError(error, range, this.#context());
    }
    this.#known.forgetIn(range);
    const layout = iommuIoasUnmap;
    const request = { name: "IOMMU_IOAS_UNMAP", fd };
    requireUnchanged(layout, ["size", "ioas_id", "iova"], { sent, answer: argument }, request);
    const unmapped = layout.unpack(argument).length;
    requireUnmapped(unmapped, size, `${layout.name}.length`, request);
    return unmapped;
  }

  #context(): RefusalContext {
    let info: AddressSpaceInfo | null = null;
    try {
      info = this.info();
    } catch {
      // The caller needs the refusal's error; it only says less.
    }
    return { info, mappings: this.mappings, memlock: memlockLimit(this.#kernel), where: "IOAS" };
  }

  /**
   * The known mappings, by ascending iova: made through this object, or added by
   * {@linkcode Ioas.know}.
   */
  get mappings(): readonly IovaMapping[] {
    return this.#known.list;
  }

  /**
   * Adds a mapping that other code made, such as the owner of a borrowed IOAS.
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

  /**
   * Destroys the IOAS with all its mappings, if it is owned. Close its devices before. Closing
   * again does nothing.
   */
  close(): void {
    if (this.#closed || !this.owned) return;
    this.#closed = true;
    this.#known.clear();
    try {
      this.iommufd.destroy(this.id);
    } catch (error) {
      // Another process still has a device open; the IOAS ends with the iommufd.
      if (!isErrno(error, "EBUSY")) throw error;
    }
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Converts VFIO_DMA_MAP_FLAG_* to IOMMU_IOAS_MAP_*. */
function accessFlags(flags: number): number {
  const readable = (flags & VFIO_DMA_MAP_FLAG_READ) === 0 ? 0 : IOMMU_IOAS_MAP_READABLE;
  const writeable = (flags & VFIO_DMA_MAP_FLAG_WRITE) === 0 ? 0 : IOMMU_IOAS_MAP_WRITEABLE;
  const unknown = flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
  if (unknown === 0) return readable | writeable;
  throw new RangeError(`Cannot map for DMA: an IOAS knows no flags 0x${unknown.toString(16)}`);
}
