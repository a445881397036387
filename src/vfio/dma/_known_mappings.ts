/**
 * The mappings of an address space that this process knows of. The kernel has no call that lists
 * them.
 */

import { encloses, formatIova, IOVA_END, type IovaMapping, overlap } from "./iova.ts";

/** Mappings that do not overlap. */
export class KnownMappings {
  readonly #mappings = new Map<bigint, IovaMapping>();

  /** All mappings, by ascending iova. */
  get list(): readonly IovaMapping[] {
    return [...this.#mappings.values()].sort((a, b) => a.iova < b.iova ? -1 : 1);
  }

  get size(): number {
    return this.#mappings.size;
  }

  /** Adds a mapping that the kernel accepted. */
  add({ iova, size }: IovaMapping): void {
    this.#mappings.set(iova, { iova, size });
  }

  /**
   * Adds a mapping that was made elsewhere.
   *
   * @throws {RangeError} If it is empty, or overlaps a known mapping.
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

  /** Removes the mapping that starts at this address. */
  forget(iova: bigint): void {
    this.#mappings.delete(iova);
  }

  /** Removes all mappings inside a range. */
  forgetIn(range: IovaMapping): void {
    for (const mapping of this.#mappings.values()) {
      if (encloses(range, mapping)) this.#mappings.delete(mapping.iova);
    }
  }

  /** Removes all mappings. */
  clear(): void {
    this.#mappings.clear();
  }
}
