/**
 * Which bytes each page of a simulated device's state has: by the seed that made it, and how often
 * the device had changed it.
 *
 * Pages next to each other mostly have the same identity. A block of pages takes memory only while
 * they differ, so that a large state does not count when the memory of a transfer is measured.
 */

import type { PageIdentity } from "./pages.ts";

/** Pages of a block: a power of two. */
const BLOCK_PAGES = 4096;

/** A block whose pages differ. */
interface MixedBlock {
  readonly seeds: Uint32Array;
  readonly versions: Uint32Array;
}

/** The identities of all pages. */
export class PageIdentities {
  readonly #pages: number;
  readonly #seed: number;
  /** What all pages of a block have, if it is not mixed. */
  readonly #uniform: PageIdentity[] = [];
  readonly #mixed: (MixedBlock | null)[] = [];

  /** So many pages, as a seed makes them. */
  constructor(pages: number, seed: number) {
    this.#pages = pages;
    this.#seed = seed;
    this.reset();
  }

  /** All pages are as the seed makes them. */
  reset(): void {
    const blocks = Math.ceil(this.#pages / BLOCK_PAGES);
    for (let block = 0; block < blocks; block += 1) {
      this.#uniform[block] = { seed: this.#seed, version: 0 };
      this.#mixed[block] = null;
    }
  }

  /** The seed of a page. */
  seed(page: number): number {
    const block = Math.floor(page / BLOCK_PAGES);
    return this.#mixed[block]?.seeds[page % BLOCK_PAGES] ?? this.#uniform[block]!.seed;
  }

  /** How often a page was changed. */
  version(page: number): number {
    const block = Math.floor(page / BLOCK_PAGES);
    return this.#mixed[block]?.versions[page % BLOCK_PAGES] ?? this.#uniform[block]!.version;
  }

  /** Gives a page another identity. */
  set(page: number, { seed, version }: PageIdentity): void {
    const block = Math.floor(page / BLOCK_PAGES);
    const uniform = this.#uniform[block]!;
    let mixed = this.#mixed[block] ?? null;
    if (mixed === null) {
      if (uniform.seed === seed && uniform.version === version) return;
      const length = Math.min(BLOCK_PAGES, this.#pages - block * BLOCK_PAGES);
      mixed = {
        seeds: new Uint32Array(length).fill(uniform.seed),
        versions: new Uint32Array(length).fill(uniform.version),
      };
      this.#mixed[block] = mixed;
    }
    const index = page % BLOCK_PAGES;
    mixed.seeds[index] = seed;
    mixed.versions[index] = version;
    // Pages mostly come in order: with the last one, the block may have become uniform.
    if (index === mixed.seeds.length - 1 && isUniform(mixed)) {
      this.#uniform[block] = { seed: mixed.seeds[0]!, version: mixed.versions[0]! };
      this.#mixed[block] = null;
    }
  }
}

function isUniform({ seeds, versions }: MixedBlock): boolean {
  return seeds.every((seed) => seed === seeds[0]) &&
    versions.every((version) => version === versions[0]);
}
