/** One pass over a bitmap, through the inner loops of _bitmap_scan.wat. */

import type { BitmapMemory } from "./bitmap_memory.ts";
import { plainLoops, type ScanLoops } from "./_bitmap_scan_plain.ts";
import { SCAN_WASM } from "./_bitmap_scan_wasm.ts";

/** Bytes of a block: as much as one call copies in and scans. */
const BLOCK_BYTES = 16384;
const BLOCK_PAGES = BLOCK_BYTES * 8;
/** Where the block is; the word before it is kept in the 8 bytes before. */
const BLOCK_AT = 64;
/** Blocks are looked at in steps of so many bytes. */
const STEP_BYTES = 128;
/** Where the positions go, up to the end of the memory. */
const POSITIONS_AT = 32768;
/** A batch is handed out once it has so many; one more block then always fits. */
const BATCH_ENOUGH = 8192;

/** Bytes of the memory. */
const MEMORY_BYTES = 10 * 65536;

/** The loops and their memory, for one pass at a time. */
class Engine {
  readonly call: ScanLoops;
  readonly #before: Uint8Array<ArrayBuffer>;
  readonly #block: Uint8Array<ArrayBuffer>;
  readonly positions: Uint32Array<ArrayBuffer>;

  constructor(loops: ScanLoops) {
    this.call = loops;
    const { buffer } = loops.memory;
    this.#before = new Uint8Array(buffer, BLOCK_AT - 8, 8);
    this.#block = new Uint8Array(buffer, BLOCK_AT, BLOCK_BYTES);
    this.positions = new Uint32Array(buffer, POSITIONS_AT);
  }

  /** Says that no page before the first block is set. */
  start(): void {
    this.#before.fill(0);
  }

  /**
   * Copies a block in, and masks the bits past the last page.
   *
   * @returns The end of the block, for {@linkcode ScanLoops}.
   */
  load(memory: BitmapMemory, offset: number, pages: number): number {
    if (pages >= BLOCK_PAGES) {
      memory.read(offset, this.#block);
      return BLOCK_AT + BLOCK_BYTES;
    }
    const bytes = Math.ceil(pages / 8);
    const end = Math.ceil(bytes / STEP_BYTES) * STEP_BYTES;
    memory.read(offset, this.#block.subarray(0, bytes));
    this.#block.fill(0, bytes, end);
    if (pages % 8 !== 0) this.#block[bytes - 1]! &= 0xff >>> (8 - pages % 8);
    return BLOCK_AT + end;
  }
}

/** Compiled; null if the runtime cannot. */
let module: WebAssembly.Module | null | undefined;
const idle: Engine[] = [];

// Two passes may be under way at once (one iterates inside the other), so an
// engine belongs to a pass. Of a pass that is never closed, the collector takes it.
function takeEngine(): Engine {
  return idle.pop() ?? new Engine(newLoops());
}

function newLoops(): ScanLoops {
  if (module === undefined) module = compiled();
  return module === null
    ? plainLoops(MEMORY_BYTES)
    : new WebAssembly.Instance(module).exports as unknown as ScanLoops;
}

function compiled(): WebAssembly.Module | null {
  try {
    return new WebAssembly.Module(Uint8Array.fromBase64(SCAN_WASM));
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) return null;
    throw error;
  }
}

/** How many of the first `pages` bits are set. */
export function countSet(memory: BitmapMemory, pages: number): number {
  const engine = takeEngine();
  let count = 0;
  for (let page = 0; page < pages; page += BLOCK_PAGES) {
    count += engine.call.count(engine.load(memory, page / 8, pages - page));
  }
  idle.push(engine);
  return count;
}

/**
 * A pass over the first `pages` bits, in batches: the numbers of the pages that
 * are set, or the first page of each run and the one behind it, in turn.
 */
export class Scan implements Disposable {
  readonly #memory: BitmapMemory;
  readonly #pages: number;
  readonly #runs: boolean;
  #engine: Engine | null = takeEngine();
  #page = 0;
  /** The first page of a run whose end is not in sight yet. */
  #open: number | null = null;

  constructor(memory: BitmapMemory, pages: number, what: "pages" | "runs") {
    this.#memory = memory;
    this.#pages = pages;
    this.#runs = what === "runs";
    this.#engine!.start();
  }

  /**
   * The next batch, or null at the end. It is a view of memory that the
   * following batch is written to.
   */
  next(): Uint32Array<ArrayBuffer> | null {
    const engine = this.#engine;
    if (engine === null || this.#page >= this.#pages) return null;
    const { positions } = engine;
    let length = 0;
    if (this.#open !== null) positions[length++] = this.#open;
    while (length <= BATCH_ENOUGH && this.#page < this.#pages) {
      const end = engine.load(this.#memory, this.#page / 8, this.#pages - this.#page);
      const out = engine.call.scan(end, this.#page, POSITIONS_AT + 4 * length, this.#runs ? -1 : 0);
      length = (out - POSITIONS_AT) / 4;
      this.#page += BLOCK_PAGES;
    }
    this.#open = null;
    if (this.#runs && length % 2 === 1) {
      if (this.#page < this.#pages) this.#open = positions[--length]!;
      else positions[length++] = this.#pages;
    }
    return positions.subarray(0, length);
  }

  /** Gives the engine back. */
  [Symbol.dispose](): void {
    if (this.#engine === null) return;
    idle.push(this.#engine);
    this.#engine = null;
  }
}
