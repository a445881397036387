/**
 * What is known to be mapped in an address space: the kernel keeps no list that
 * could be read.
 */

import { encloses, formatIova, IOVA_END, type IovaMapping, overlap } from "./iova.ts";

/** Mappings, none over another. */
export class KnownMappings {
  readonly #mappings = new Map<bigint, IovaMapping>();

  /** All, by ascending iova. */
  get list(): readonly IovaMapping[] {
    return [...this.#mappings.values()].sort((a, b) => a.iova < b.iova ? -1 : 1);
  }

  /** How many there are. */
  get size(): number {
    return this.#mappings.size;
  }

  /** Adds one that the kernel has made. */
  add({ iova, size }: IovaMapping): void {
    this.#mappings.set(iova, { iova, size });
  }

  /**
   * Adds one by hearsay.
   *
   * @throws {RangeError} If it is empty, or overlaps one that is known.
   */
  know({ iova, size }: IovaMapping): void {
    const other = this.list.find((mapping) => overlap(mapping, { iova, size }));
    if (other !== undefined || size <= 0n || iova < 0n || iova + size > IOVA_END) {
      throw new RangeError(
        `Cannot take ${formatIova({ iova, size })} for a mapping: it ` +
          (other === undefined ? "is not in the address space" : `overlaps ${formatIova(other)}`),
      );
    }
    this.add({ iova, size });
  }

  /** Takes one out. */
  forget(iova: bigint): void {
    this.#mappings.delete(iova);
  }

  /** Takes out all that lie in a range. */
  forgetIn(range: IovaMapping): void {
    for (const mapping of this.#mappings.values()) {
      if (encloses(range, mapping)) this.#mappings.delete(mapping.iova);
    }
  }

  /** Takes out all. */
  clear(): void {
    this.#mappings.clear();
  }
}
