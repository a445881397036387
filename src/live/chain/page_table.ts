/**
 * The pages of memory by their hashes, whatever ranges they are in.
 */

import { Buffer } from "node:buffer";
import { HASH_BYTES } from "../../checkpoint/frames/hash_frame.ts";
import { PAGE_UNIT, type PageEntry } from "../../checkpoint/frames/page_frame.ts";
import { hashPage } from "../../migration/memory/page_hashes.ts";

/** Pages of a block. */
const BLOCK_PAGES = 512;
const BLOCK_BYTES = BLOCK_PAGES * PAGE_UNIT;
/** Most blocks: 1 TiB of memory. */
const MOST_BLOCKS = 2 ** 19;

/** The pages of a block. */
interface Block {
  readonly hashes: Uint8Array;
  readonly known: Uint8Array;
}

const newBlock = (known: 0 | 1): Block => ({
  hashes: new Uint8Array(BLOCK_PAGES * HASH_BYTES),
  known: new Uint8Array(BLOCK_PAGES).fill(known),
});

/** Stands for each block of zeros; it is never written to. */
const ZEROS = newBlock(1);
const NOTHING = newBlock(0);

/** A range of pages that differ in the same way. */
export interface DifferentRange {
  /** Where it begins. */
  readonly iova: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** Whether both have these pages, with different content, or one of them has them alone. */
  readonly how: "differs" | "only-first" | "only-second";
}

/** A table of pages: 17 bytes for each, none for blocks of zeros. */
export class PageTable {
  readonly #blocks = new Map<number, Block>();

  /**
   * Notes what a PAGE frame says; later content replaces earlier.
   *
   * @throws {RangeError} If it becomes more than 1 TiB.
   */
  add(entries: readonly PageEntry[], body: Uint8Array): void {
    let at = 0;
    for (const { iova, length, zero } of entries) {
      if (zero) this.#addZeros(iova, length);
      else {
        for (let done = 0; done < length; done += PAGE_UNIT, at += PAGE_UNIT) {
          this.#set(iova + BigInt(done), hashPage(body.subarray(at, at + PAGE_UNIT)));
        }
      }
    }
  }

  #addZeros(iova: bigint, length: number): void {
    for (let done = 0; done < length;) {
      const from = iova + BigInt(done);
      const whole = from % BigInt(BLOCK_BYTES) === 0n && length - done >= BLOCK_BYTES;
      if (whole) this.#put(Number(from / BigInt(BLOCK_BYTES)), ZEROS);
      else this.#set(from, null);
      done += whole ? BLOCK_BYTES : PAGE_UNIT;
    }
  }

  /** Notes a page by its hash; null for zeros. */
  #set(iova: bigint, hash: Uint8Array | null): void {
    const [number, page] = placeOf(iova);
    let block = this.#blocks.get(number);
    if (block === undefined || block === ZEROS) {
      if (block === ZEROS && hash === null) return;
      block = this.#put(number, newBlock(block === ZEROS ? 1 : 0));
    }
    block.known[page] = 1;
    if (hash !== null) block.hashes.set(hash, page * HASH_BYTES);
    else block.hashes.fill(0, page * HASH_BYTES, (page + 1) * HASH_BYTES);
  }

  #put(number: number, block: Block): Block {
    this.#blocks.set(number, block);
    if (this.#blocks.size > MOST_BLOCKS) {
      throw new RangeError("Cannot compare checkpoints of more than 1 TiB of memory");
    }
    return block;
  }

  /** The ranges that differ from those of another table, by ascending iova. */
  differences(other: PageTable): DifferentRange[] {
    const ranges: DifferentRange[] = [];
    const numbers = new Set([...this.#blocks.keys(), ...other.#blocks.keys()]);
    for (const number of [...numbers].sort((a, b) => a - b)) {
      const one = this.#blocks.get(number) ?? NOTHING;
      const two = other.#blocks.get(number) ?? NOTHING;
      if (one === two) continue;
      for (let page = 0; page < BLOCK_PAGES; page++) {
        const how = difference(one, two, page);
        if (how !== null) {
          join(ranges, BigInt(number * BLOCK_PAGES + page) * BigInt(PAGE_UNIT), how);
        }
      }
    }
    return ranges;
  }
}

function placeOf(iova: bigint): [block: number, page: number] {
  const page = iova / BigInt(PAGE_UNIT);
  return [Number(page / BigInt(BLOCK_PAGES)), Number(page % BigInt(BLOCK_PAGES))];
}

function difference(one: Block, two: Block, page: number): DifferentRange["how"] | null {
  if (one.known[page] !== two.known[page]) return one.known[page] ? "only-first" : "only-second";
  const [from, to] = [page * HASH_BYTES, (page + 1) * HASH_BYTES];
  const same = Buffer.compare(one.hashes.subarray(from, to), two.hashes.subarray(from, to)) === 0;
  return same ? null : "differs";
}

function join(ranges: DifferentRange[], iova: bigint, how: DifferentRange["how"]): void {
  const last = ranges.at(-1);
  const size = BigInt(PAGE_UNIT);
  if (last !== undefined && last.how === how && last.iova + last.size === iova) {
    ranges[ranges.length - 1] = { ...last, size: last.size + size };
  } else ranges.push({ iova, size, how });
}
