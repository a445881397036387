/**
 * The groups attached to an IOMMU, and the access of their devices to its memory.
 */

import { VFIO_DMA_MAP_FLAG_WRITE } from "../../uapi/mod.ts";
import type { FaultEvent } from "../faults/fault_plan.ts";
import { type Dma, DMA_PAGE, type DmaList } from "./dma_list.ts";
import type { IommuMember } from "./iommu_member.ts";
import { refuse } from "../os/refusal.ts";
import type { Bytes } from "../os/bytes.ts";
import type { UserMemory } from "../os/user_memory.ts";

/** What the IOMMU records per group. */
interface MemberState {
  /**
   * Whether its device writes to pinned pages only. That is always so without
   * hardware. With hardware, the driver enters this scope when it first pins a page.
   */
  pinnedScope: boolean;
}

/** Told of what a device writes through IOMMU hardware. */
export type Wrote = (iova: bigint, length: number) => void;

/** The errno for an access to unmapped memory: type1's or iommufd's. */
export type HoleErrno = "EINVAL" | "ENOENT";

/** The groups of one IOMMU. */
export class IommuMembers {
  readonly #list: DmaList;
  readonly #user: UserMemory;
  readonly #hole: HoleErrno;
  readonly #checkLocked: (bytes: bigint) => void;
  readonly #members: Map<IommuMember, MemberState> = new Map();

  constructor(
    list: DmaList,
    user: UserMemory,
    hole: HoleErrno,
    checkLocked: (bytes: bigint) => void,
  ) {
    this.#list = list;
    this.#user = user;
    this.#hole = hole;
    this.#checkLocked = checkLocked;
  }

  /** Whether there are no groups. */
  get empty(): boolean {
    return this.#members.size === 0;
  }

  /** Whether a group needs its memory mapped in hardware. */
  get hardware(): boolean {
    return [...this.#members.keys()].some(({ hardware }) => hardware);
  }

  /** Whether a device may write to any page without being tracked. */
  get allDirty(): boolean {
    return [...this.#members.values()].some(({ pinnedScope }) => !pinnedScope);
  }

  /** Adds a group; `wrote` is called for all that its device writes through hardware. */
  add(member: IommuMember, wrote: Wrote = () => {}): void {
    const state = { pinnedScope: !member.hardware };
    this.#members.set(member, state);
    member.reach({
      mappings: this.#list,
      write: (iova, from) => this.#write(iova, from, member.hardware ? wrote : null),
      pin: (iova) => {
        this.#pin(iova);
        state.pinnedScope = true;
      },
      unpin: (iova) => this.#unpin(iova),
    });
  }

  /** Removes a group; returns whether its device may have written to any page. */
  remove(member: IommuMember): boolean {
    member.elapse();
    member.reach(null);
    const { pinnedScope } = this.#members.get(member)!;
    this.#members.delete(member);
    return !pinnedScope;
  }

  /** Performs all DMA up to now. */
  elapse(): void {
    for (const member of this.#members.keys()) member.elapse();
  }

  /** A mapping was removed. */
  unmapped(dma: Dma): void {
    for (const member of this.#members.keys()) member.unmapped(dma);
  }

  /** Counts an event for the faults of all devices; one that strikes refuses the call. */
  strike(event: FaultEvent): void {
    for (const member of this.#members.keys()) member.strike(event);
  }

  #at(iova: bigint): Dma {
    const dma = this.#list.overlapping(iova, iova + 1n) ?? refuse(this.#hole);
    if ((dma.access & VFIO_DMA_MAP_FLAG_WRITE) === 0) refuse("EPERM");
    return dma;
  }

  /** `wrote`: the hardware's; null if the kernel itself writes, and sees it. */
  #write(iova: bigint, from: Bytes, wrote: Wrote | null): void {
    for (let done = 0; done < from.length;) {
      const at = iova + BigInt(done);
      const dma = this.#at(at);
      const room = dma.end - at;
      const part = from.subarray(done, room < from.length ? done + Number(room) : undefined);
      this.#user.write(dma.vaddr + (at - dma.iova), part);
      const first = dma.pageAt(at);
      const last = dma.pageAt(at + BigInt(part.length) - 1n);
      if (wrote === null) dma.bitmap?.mark(first, last - first + 1);
      else wrote(at, part.length);
      done += part.length;
    }
  }

  #pin(iova: bigint): void {
    const dma = this.#at(iova);
    const page = dma.pageAt(iova);
    const pins = dma.pins.get(page) ?? 0;
    if (pins === 0) {
      if (!this.#user.has(dma.vaddr + (iova - dma.iova), DMA_PAGE)) refuse("EFAULT");
      // With hardware, every mapped page is pinned and counted already.
      if (!this.hardware) this.#checkLocked(this.#list.locked(false) + DMA_PAGE);
    }
    dma.pins.set(page, pins + 1);
    dma.bitmap?.mark(page, 1);
  }

  #unpin(iova: bigint): void {
    const dma = this.#list.overlapping(iova, iova + 1n) ?? refuse("EINVAL");
    const page = dma.pageAt(iova);
    const pins = dma.pins.get(page) ?? refuse("EINVAL");
    if (pins === 1) dma.pins.delete(page);
    else dma.pins.set(page, pins - 1);
  }
}
