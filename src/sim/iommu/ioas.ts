/**
 * An IOAS: an I/O address space of an iommufd, as in Linux 6.12.
 */

import {
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
  type IommuIoasMap,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
} from "../../uapi/mod.ts";
import { Dma, DMA_PAGE, DmaList } from "./dma_list.ts";
import { EMULATED, HARDWARE, type Iommu, type MappableRange, reaches } from "./iommu.ts";
import type { DmaTarget, IommuMember } from "./iommu_member.ts";
import { IommuMembers } from "./iommu_members.ts";
import type { DirtyQuery, PageTable } from "./page_table.ts";
import { refuse } from "../os/refusal.ts";
import type { UserMemory } from "../os/user_memory.ts";

/** ULONG_MAX, which is neither an address nor a length. */
const ULONG_MAX = (1n << 64n) - 1n;

/** The memory that a bound device reaches while it is not attached: none. */
const DETACHED: DmaTarget = {
  mappings: [],
  write: () => refuse("ENOENT"),
  pin: () => refuse("ENOENT"),
  unpin: () => {},
};

/** A device was bound to an iommufd: it reaches no memory yet. */
export function bound(member: IommuMember): void {
  member.reach(DETACHED);
}

/** An address space. */
export class IoasObject {
  readonly #user: UserMemory;
  readonly #memlock: bigint | null;
  readonly #list: DmaList = new DmaList();
  readonly #members: IommuMembers;
  readonly #tables = new Set<PageTable>();

  constructor(user: UserMemory, memlock: bigint | null) {
    this.#user = user;
    this.#memlock = memlock;
    this.#members = new IommuMembers(
      this.#list,
      user,
      "ENOENT",
      (bytes) => this.#checkLocked(bytes),
    );
  }

  /** Whether all memory is pinned, and mapped in page tables. */
  get #hardware(): boolean {
    return this.#tables.size > 0;
  }

  get #iommu(): Iommu {
    return this.#hardware ? HARDWARE : EMULATED;
  }

  /** The alignment of addresses and lengths in bytes: a page, once it is used. */
  get alignment(): bigint {
    return this.inUse ? DMA_PAGE : 1n;
  }

  /** The addresses that can be mapped. */
  get ranges(): readonly MappableRange[] {
    return this.#iommu.ranges ?? [{ start: 0n, end: ULONG_MAX }];
  }

  /** Whether devices are attached to it, or page tables are made of it. */
  get inUse(): boolean {
    return !this.#members.empty || this.#hardware;
  }

  /** Performs all DMA up to now. */
  elapse(): void {
    this.#members.elapse();
  }

  /** Checks that a device may attach. */
  admit(): void {
    for (const { iova, size, vaddr } of this.#list) {
      if ((iova | size | vaddr) % DMA_PAGE !== 0n) refuse("EADDRINUSE");
    }
  }

  /** Makes a page table of it. For the first one, all memory is pinned. */
  addTable(table: PageTable): void {
    this.admit();
    if (!this.#hardware) {
      for (const dma of this.#list) {
        if (!reaches(HARDWARE, dma.iova, dma.end)) refuse("EADDRINUSE");
      }
      for (const dma of this.#list) this.#pinAll(dma);
      this.#checkLocked(this.#list.locked(true));
    }
    this.#tables.add(table);
  }

  /** A page table of it is gone. */
  removeTable(table: PageTable): void {
    this.#tables.delete(table);
  }

  /** Attaches a device that was admitted; through its page table, if it has hardware. */
  attach(member: IommuMember, table: PageTable | null): void {
    this.#members.add(member, (iova, length) => table?.wrote(iova, length));
  }

  /** Reads which pages are dirty in a page table of it. */
  readDirty(table: PageTable, query: DirtyQuery, clear: boolean): void {
    table.read(query, this.#list, this.#user, clear);
  }

  /** Detaches a device. */
  detach(member: IommuMember): void {
    this.#members.remove(member);
    bound(member);
  }

  /** IOMMU_IOAS_MAP, after its flags and limits were checked; returns the IOVA. */
  map({ flags, user_va, length, iova: wanted }: IommuIoasMap): bigint {
    // Within a page of 2^64, the length is refused before the address is added to it.
    if (length === 0n || length > ULONG_MAX - DMA_PAGE) refuse("EINVAL");
    if (user_va + length > ULONG_MAX) refuse("EOVERFLOW");
    const inside = this.alignment - 1n;
    if ((length & inside) !== 0n) refuse("EINVAL");
    const fixed = (flags & IOMMU_IOAS_MAP_FIXED_IOVA) !== 0;
    const iova = fixed ? wanted : this.#free(length);
    if ((iova & inside) !== 0n) refuse("EINVAL");
    if (iova + length - 1n > ULONG_MAX) refuse("EOVERFLOW");
    if (!reaches({ ...this.#iommu, ranges: this.ranges }, iova, iova + length)) refuse("EINVAL");
    if (this.#list.overlapping(iova, iova + length) !== null) refuse("EEXIST");
    if ((user_va & inside) !== 0n) refuse("EINVAL");
    this.#members.strike("map");
    const readable = (flags & IOMMU_IOAS_MAP_READABLE) === 0 ? 0 : VFIO_DMA_MAP_FLAG_READ;
    const writeable = (flags & IOMMU_IOAS_MAP_WRITEABLE) === 0 ? 0 : VFIO_DMA_MAP_FLAG_WRITE;
    const dma = new Dma(iova, length, user_va, readable | writeable);
    if (this.#hardware) {
      this.#pinAll(dma);
      this.#checkLocked(this.#list.locked(true) + dma.size);
    }
    this.#list.insert(dma);
    return iova;
  }

  /** The first free range that is large enough; address 0 is never chosen. */
  #free(length: bigint): bigint {
    let iova = DMA_PAGE;
    for (const { start, end } of this.ranges) {
      if (iova < start) iova = start;
      for (const dma of this.#list.in(iova, end + 1n)) {
        if (dma.iova >= iova + length) break;
        iova = (dma.end + DMA_PAGE - 1n) / DMA_PAGE * DMA_PAGE;
      }
      if (iova + length <= end + 1n) return iova;
    }
    return refuse("ENOSPC");
  }

  #pinAll({ vaddr, size }: Dma): void {
    if (!this.#user.has(vaddr, size)) refuse("EFAULT");
  }

  /** Fails with ENOMEM if so many bytes exceed the limit of locked memory. */
  #checkLocked(bytes: bigint): void {
    if (this.#memlock !== null && bytes > this.#memlock) refuse("ENOMEM");
  }

  /**
   * IOMMU_IOAS_UNMAP; returns the bytes unmapped. Fails with ENOENT if nothing is
   * mapped, or at a mapping that would be split; the mappings before it are gone then.
   */
  unmap(iova: bigint, length: bigint): bigint {
    const all = iova === 0n && length === ULONG_MAX;
    if (!all && (iova >= ULONG_MAX || length >= ULONG_MAX)) refuse("EOVERFLOW");
    if (length === 0n) refuse("EINVAL");
    const end = all ? ULONG_MAX + 1n : iova + length;
    if (end > ULONG_MAX + 1n) refuse("EOVERFLOW");
    let bytes = 0n;
    for (const dma of [...this.#list.in(iova, end)]) {
      if (dma.iova < iova || dma.end > end) refuse("ENOENT");
      this.#members.strike("unmap");
      this.#list.remove(dma);
      this.#members.unmapped(dma);
      for (const table of this.#tables) table.unmapped(dma.iova, dma.size);
      bytes += dma.size;
    }
    return bytes === 0n && !all ? refuse("ENOENT") : bytes;
  }
}
