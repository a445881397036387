/**
 * The IOAS: an address space of an iommufd.
 *
 * @module
 */

import { isErrno, SysError } from "../../kernel/error.ts";
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
import { requireTaken, requireUnchanged } from "../device/answer_fields.ts";
import { ioctl } from "../ioctl.ts";
import { KnownMappings } from "./_known_mappings.ts";
import type { AddressSpace, AddressSpaceInfo, DmaMapping } from "./address_space.ts";
import { AnswerError } from "../device/answer_error.ts";
import type { Iommufd } from "./iommufd.ts";
import { encloses, type IovaMapping, type IovaRange, overlap } from "./iova.ts";
import { mapError, type RefusalContext, unmapError } from "./map_error.ts";
import { memlockLimit } from "../reasons/memlock.ts";

/** Room for so many ranges at first: a page of them. */
const RANGES_FIRST = 4096 / iommuIovaRange.size;
/** More ranges than any IOMMU has. */
const RANGES_MAX = 64 * RANGES_FIRST;

/**
 * An address space of an iommufd. It tracks no dirty pages: a device's own log
 * may.
 *
 * @example
 * ```ts
 * import { SimKernel } from "../../sim/mod.ts";
 * import { DmaMemory } from "./dma_memory.ts";
 * import { Ioas } from "./ioas.ts";
 * import { Iommufd } from "./iommufd.ts";
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
  /** Whose it is. */
  readonly iommufd: Iommufd;
  /** Its number there. */
  readonly id: number;
  /** Whether it is this object's to take away. */
  readonly owned: boolean;
  readonly #known = new KnownMappings();
  #closed = false;

  private constructor(iommufd: Iommufd, id: number, owned: boolean) {
    this.iommufd = iommufd;
    this.id = id;
    this.owned = owned;
  }

  /**
   * Makes a new one.
   *
   * @throws {UnsupportedError} If the iommufd is none.
   * @throws {OpenError} If the kernel refuses for another reason.
   */
  static allocate(iommufd: Iommufd): Ioas {
    return new Ioas(iommufd, iommufd.allocateIoas(), true);
  }

  /** Uses one that somebody else made. */
  static borrow(iommufd: Iommufd, id: number): Ioas {
    return new Ioas(iommufd, id, false);
  }

  get #kernel(): Kernel {
    return this.iommufd.kernel;
  }

  /**
   * Reads what can be mapped (IOMMU_IOAS_IOVA_RANGES), and by which pages: what
   * the devices attached to it ask for. Without a device nothing is asked for.
   *
   * @throws {SysError} ENOENT where there is no such IOAS.
   * @throws {AnswerError} Where the answer cannot be true.
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

  /** With room for so many ranges; null where there are more. */
  #ranges(room: number): AddressSpaceInfo | null {
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
    const { kernel, fd } = this.iommufd;
    try {
      ioctl(kernel, fd, "IOMMU_IOAS_IOVA_RANGES", IOMMU_IOAS_IOVA_RANGES, argument);
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
    // Whatever is a multiple of the alignment can be mapped: all sizes from there on.
    return { pgsizes: BigInt.asUintN(64, -out_iova_alignment), iovaRanges };
  }

  /**
   * Maps memory for DMA (IOMMU_IOAS_MAP).
   *
   * @throws {DmaError} EEXIST, EINVAL, EOVERFLOW, ENOMEM (the memlock limit),
   * EFAULT, ENOENT: why, and what to do.
   * @throws {RangeError} If a number does not fit its field, or a flag is none of READ and WRITE.
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
      ioctl(this.#kernel, this.iommufd.fd, "IOMMU_IOAS_MAP", IOMMU_IOAS_MAP, argument);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      throw mapError(error, mapping, this.#context());
    }
    this.#known.add({ iova, size });
  }

  /**
   * Takes mappings back (IOMMU_IOAS_UNMAP).
   *
   * @returns Bytes taken back, as the kernel counts them; 0 where nothing is
   * known to be mapped and the kernel finds nothing (ENOENT).
   * @throws {DmaError} EINVAL where the range is empty, EOVERFLOW beyond 2^64,
   * ENOENT where it cuts a mapping. If that is one that is not known here,
   * those before it are gone.
   * @throws {AnswerError} If the kernel's answer cannot be true: the mappings are gone, as it says.
   * @throws {RangeError} If a number does not fit its field.
   */
  unmap(iova: bigint, size: bigint): bigint {
    const range = { iova, size };
    const hit = this.mappings.filter((mapping) => overlap(mapping, range));
    const cut = hit.find((mapping) => !encloses(range, mapping));
    // Asked about all of the range, Linux takes back what lies before the mapping that is cut.
    const asked = cut === undefined ? range : common(cut, range);
    const argument = iommuIoasUnmap.pack({
      ioas_id: this.id,
      iova: asked.iova,
      length: asked.size,
    });
    const name = "IOMMU_IOAS_UNMAP";
    const sent = argument.slice();
    const { fd } = this.iommufd;
    try {
      ioctl(this.#kernel, fd, name, IOMMU_IOAS_UNMAP, argument);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (isErrno(error, "ENOENT") && hit.length === 0 && this.owned) return 0n;
      throw unmapError(error, range, this.#context());
    }
    this.#known.forgetIn(range);
    const layout = iommuIoasUnmap;
    requireUnchanged(layout, ["size", "ioas_id", "iova"], sent, argument, name, fd);
    const taken = layout.unpack(argument).length;
    requireTaken(taken, size, name, fd, `${layout.name}.length`);
    return taken;
  }

  #context(): RefusalContext {
    let info: AddressSpaceInfo | null = null;
    try {
      info = this.info();
    } catch {
      // The refusal is what counts; it is only explained less well.
    }
    return { info, mappings: this.mappings, memlock: memlockLimit(this.#kernel), where: "IOAS" };
  }

  /**
   * What is known to be mapped, by ascending iova: through this object, or told
   * by {@linkcode Ioas.know}.
   */
  get mappings(): readonly IovaMapping[] {
    return this.#known.list;
  }

  /**
   * Tells of a mapping that somebody else made, such as the owner of a borrowed IOAS.
   *
   * @throws {RangeError} If it is empty, or overlaps one that is known.
   */
  know(mapping: IovaMapping): void {
    this.#known.know(mapping);
  }

  /** Tells that a mapping is gone, though it was not unmapped through this object. */
  forget(iova: bigint): void {
    this.#known.forget(iova);
  }

  /**
   * Takes away what is owned, with all its mappings; devices must be closed
   * before. Closing again does nothing.
   */
  close(): void {
    if (this.#closed || !this.owned) return;
    this.#closed = true;
    this.#known.clear();
    try {
      this.iommufd.destroy(this.id);
    } catch (error) {
      // Another process has the device open still; it ends with its iommufd then.
      if (!isErrno(error, "EBUSY")) throw error;
    }
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** VFIO_DMA_MAP_FLAG_* as IOMMU_IOAS_MAP_*. */
function accessFlags(flags: number): number {
  const readable = (flags & VFIO_DMA_MAP_FLAG_READ) === 0 ? 0 : IOMMU_IOAS_MAP_READABLE;
  const writeable = (flags & VFIO_DMA_MAP_FLAG_WRITE) === 0 ? 0 : IOMMU_IOAS_MAP_WRITEABLE;
  const unknown = flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
  if (unknown === 0) return readable | writeable;
  throw new RangeError(`Cannot map for DMA: an IOAS knows no flags 0x${unknown.toString(16)}`);
}

/** The bytes that two ranges have in common. */
function common(one: IovaMapping, other: IovaMapping): IovaMapping {
  const iova = one.iova > other.iova ? one.iova : other.iova;
  const [oneEnd, otherEnd] = [one.iova + one.size, other.iova + other.size];
  return { iova, size: (oneEnd < otherEnd ? oneEnd : otherEnd) - iova };
}
