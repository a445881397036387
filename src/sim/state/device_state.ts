/**
 * The internal state of a simulated device: the data that a migration transfers.
 *
 * A page's bytes are computed from its identity (see pages.ts), so 4 GiB of
 * state take a few MiB of memory. Bytes that no device generated are stored
 * unchanged.
 */

import { type Bytes, ViewedBytes } from "../os/bytes.ts";
import { crc32 } from "node:zlib";
import { PageIdentities } from "./page_identities.ts";
import { copyTemplate, nextRandom, PAGE, recognisePage, stampPage } from "./pages.ts";

/** Pages that the checksum reads at a time. */
const CHECKSUM_PAGES = 256;

/** After a long time without a call, a device changes each page at most this many times. */
const MAX_CATCH_UP = 4;

/** A device's state, and the pages of it that a save still has to take. */
export class DeviceState {
  /** Size in bytes, a multiple of the page size. */
  readonly size: number;
  /** Size in pages. */
  readonly pages: number;
  readonly #seed: number;
  readonly #rate: number;
  #now: () => number;

  /** By default this device's seed and version 0. */
  readonly #identities: PageIdentities;
  readonly #foreign: Map<number, Bytes> = new Map();
  #differing = 0;
  readonly #scratch = new ViewedBytes(new Uint8Array(PAGE));

  // Pages to save: one bit per page, while a save is in progress.
  readonly #dirty: Uint32Array;
  #tracking = false;
  #dirtyPages = 0;

  // How the running device changes its state.
  #lastTime = 0;
  #owed = 0;
  #random = 1;
  #selfDirtied = 0;

  /** `size` bytes of state generated from `seed`, changing at `rate` bytes per second. */
  constructor(size: number, seed: number, rate: number, now: () => number) {
    this.size = size;
    this.pages = size / PAGE;
    this.#seed = seed;
    this.#rate = rate;
    this.#now = now;
    this.#identities = new PageIdentities(this.pages, seed);
    this.#dirty = new Uint32Array(Math.ceil(this.pages / 32));
    this.open();
  }

  /** The device is opened: the state is as generated from the seed, and no page has changed. */
  open(): void {
    this.#selfDirtied = 0;
    this.reset();
  }

  /** Restores the state that the seed generates. */
  reset(): void {
    this.#identities.reset();
    this.#foreign.clear();
    this.#differing = 0;
    this.untrack();
    this.#lastTime = this.#now();
    this.#owed = 0;
    this.#random = (Math.imul(this.#seed, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1;
  }

  /** Replaces the clock (milliseconds). */
  useClock(now: () => number): void {
    this.#now = now;
    this.#lastTime = now();
  }

  /** The current time of the clock, in milliseconds. */
  get now(): number {
    return this.#now();
  }

  /** Whether any page differs from what the seed generates. */
  get differs(): boolean {
    return this.#differing > 0;
  }

  /** Pages that the device changed by itself since it was opened. */
  get selfDirtied(): number {
    return this.#selfDirtied;
  }

  /** Pages that a save still has to take. */
  get dirtyPages(): number {
    return this.#dirtyPages;
  }

  /** Applies the time since the last call: a running device changes its state. */
  elapse(running: boolean): void {
    if (this.#rate === 0) return;
    const now = this.#now();
    const elapsed = now - this.#lastTime;
    this.#lastTime = now;
    if (!running) return;
    this.#owed += elapsed * this.#rate / 1000 / PAGE;
    const steps = Math.floor(this.#owed);
    this.#owed -= steps;
    for (let step = Math.min(steps, this.pages * MAX_CATCH_UP); step > 0; step -= 1) {
      this.#random = nextRandom(this.#random);
      this.change(this.#random % this.pages);
    }
  }

  /** The device changes a page. */
  change(page: number): void {
    const before = this.#isSeeds(page);
    this.#foreign.delete(page);
    const seed = this.#identities.seed(page);
    this.#identities.set(page, { seed, version: (this.#identities.version(page) + 1) >>> 0 });
    this.#count(before, page);
    this.#selfDirtied += 1;
    this.#mark(page);
  }

  #isSeeds(page: number): boolean {
    return this.#identities.version(page) === 0 && this.#identities.seed(page) === this.#seed &&
      !this.#foreign.has(page);
  }

  #count(before: boolean, page: number): void {
    this.#differing += Number(before) - Number(this.#isSeeds(page));
  }

  #mark(page: number): void {
    if (!this.#tracking) return;
    const bit = 1 << (page & 31);
    if ((this.#dirty[page >>> 5]! & bit) !== 0) return;
    this.#dirty[page >>> 5]! |= bit;
    this.#dirtyPages += 1;
  }

  /** A save begins: every page is dirty. */
  trackAll(): void {
    this.#tracking = true;
    this.#dirty.fill(0xffffffff);
    const tail = this.pages & 31;
    if (tail !== 0) this.#dirty[this.#dirty.length - 1] = 2 ** tail - 1;
    this.#dirtyPages = this.pages;
  }

  /** A save has ended: pages are no longer tracked. */
  untrack(): void {
    this.#tracking = false;
    this.#dirty.fill(0);
    this.#dirtyPages = 0;
  }

  /** The first dirty page from page `from` on, wrapping around at the end; -1 if there is none. */
  nextDirty(from: number): number {
    if (this.#dirtyPages === 0) return -1;
    const words = this.#dirty.length;
    let index = from >>> 5;
    // The word of `from` is checked first without the pages below it, and last with them.
    let word = this.#dirty[index]! & (-1 << (from & 31));
    for (let seen = 0; seen <= words; seen += 1) {
      if (word !== 0) return index * 32 + 31 - Math.clz32(word & -word);
      index = (index + 1) % words;
      word = this.#dirty[index]!;
    }
    return -1;
  }

  /** The number of consecutive dirty pages from `first` on, at most `most`. */
  dirtyRun(first: number, most: number): number {
    const end = Math.min(first + most, this.pages);
    let page = first;
    while (page < end) {
      const word = this.#dirty[page >>> 5]!;
      if ((page & 31) === 0 && word === -1 >>> 0 && page + 32 <= end) page += 32;
      else if ((word & (1 << (page & 31))) !== 0) page += 1;
      else break;
    }
    return page - first;
  }

  /** A save took these pages: they are clean until they change again. */
  clean(first: number, count: number): void {
    for (let page = first; page < first + count;) {
      if ((page & 31) === 0 && page + 32 <= first + count) {
        this.#dirty[page >>> 5] = 0;
        page += 32;
      } else {
        this.#dirty[page >>> 5]! &= ~(1 << (page & 31));
        page += 1;
      }
    }
    this.#dirtyPages -= count;
  }

  /** Copies `length` bytes from `offset` of the state to `out` at `at`. */
  read(offset: number, out: ViewedBytes, at: number, length: number): void {
    const end = offset + length;
    while (offset < end) {
      const page = Math.floor(offset / PAGE);
      const inside = offset % PAGE;
      let run: number;
      if (inside === 0 && end - offset >= PAGE) {
        const count = Math.floor((end - offset) / PAGE);
        this.#pages(page, count, out, at);
        run = count * PAGE;
      } else {
        run = Math.min(PAGE - inside, end - offset);
        this.#pages(page, 1, this.#scratch, 0);
        out.bytes.set(this.#scratch.bytes.subarray(inside, inside + run), at);
      }
      offset += run;
      at += run;
    }
  }

  #pages(first: number, count: number, { bytes, view }: ViewedBytes, at: number): void {
    copyTemplate(bytes, at, first, count);
    const identities = this.#identities;
    for (let page = first; page < first + count; page += 1, at += PAGE) {
      stampPage(view, at, page, identities.seed(page), identities.version(page));
      if (this.#foreign.size > 0) {
        const foreign = this.#foreign.get(page);
        if (foreign !== undefined) bytes.set(foreign, at);
      }
    }
  }

  /** Replaces `length` bytes at `offset` of the state by the bytes of `from` at `at`. */
  write(offset: number, from: ViewedBytes, at: number, length: number): void {
    const end = offset + length;
    while (offset < end) {
      const page = Math.floor(offset / PAGE);
      const inside = offset % PAGE;
      const run = Math.min(PAGE - inside, end - offset);
      if (run === PAGE) this.#replace(page, from, at);
      else this.#patch(page, inside, from.bytes.subarray(at, at + run));
      offset += run;
      at += run;
    }
  }

  /** Writes a part of a page. The page is stored as foreign until its last byte is written. */
  #patch(page: number, inside: number, bytes: Bytes): void {
    const before = this.#isSeeds(page);
    let own = this.#foreign.get(page);
    if (own === undefined) {
      own = new Uint8Array(PAGE);
      this.#pages(page, 1, new ViewedBytes(own), 0);
      this.#foreign.set(page, own);
    }
    own.set(bytes, inside);
    this.#count(before, page);
    this.#mark(page);
    if (inside + bytes.length === PAGE) this.#replace(page, new ViewedBytes(own), 0);
  }

  #replace(page: number, { bytes, view }: ViewedBytes, at: number): void {
    const before = this.#isSeeds(page);
    const identity = recognisePage(bytes, view, at, page);
    if (identity === null) {
      this.#foreign.set(page, bytes.slice(at, at + PAGE));
    } else {
      this.#foreign.delete(page);
      this.#identities.set(page, identity);
    }
    this.#count(before, page);
    this.#mark(page);
  }

  /** CRC-32 (IEEE) of the whole state. */
  checksum(): number {
    const pages = Math.min(CHECKSUM_PAGES, this.pages);
    const part = new ViewedBytes(new Uint8Array(pages * PAGE));
    let crc = 0;
    for (let first = 0; first < this.pages; first += pages) {
      const count = Math.min(pages, this.pages - first);
      this.#pages(first, count, part, 0);
      crc = crc32(part.bytes.subarray(0, count * PAGE), crc);
    }
    return crc;
  }
}
