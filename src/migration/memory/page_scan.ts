/**
 * Finds the memory that is to be sent, on the device's thread: what is dirty, or all of it, without
 * what the other side has already.
 */

import {
  FRAME_HEADER_SIZE,
  FRAME_OPTIONAL,
  FRAME_PAGE,
} from "../../checkpoint/frames/constants.ts";
import { describeFrame } from "../../checkpoint/frames/frame_writer.ts";
import {
  MAX_PAGE_ENTRIES,
  MAX_ZEROS,
  PAGE_UNIT,
  type PageEntry,
  pageHeadSize,
  parsePageMeta,
  writePageMeta,
} from "../../checkpoint/frames/page_frame.ts";
import { HASH_BYTES } from "../../checkpoint/frames/hash_frame.ts";
import type {
  DeviceMemory,
  DirtyReading,
  DirtyTracker,
  MemoryPart,
  ProtectedMemory,
  TrackingVerdict,
} from "../../dirty/mod.ts";
import { takeWritten } from "../../dirty/protection/written_pages.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { hasOnlyZeros } from "../../kernel/mapping_zeros.ts";
import {
  encloses,
  formatIova,
  intersection,
  type IovaMapping,
  overlap,
} from "../../vfio/dma/iova.ts";
import { CopiedPages } from "./copied_pages.ts";
import { hashPage, PageHashes } from "./page_hashes.ts";
import { ownPages, type PageSpan, type StreamPart } from "./stripes.ts";

/**
 * Bytes of a slot before the body: room for the head of a frame with the most entries, in whole pages.
 * The head ends where the body begins.
 */
export const PAGE_BODY_AT: number = Math.ceil(pageHeadSize(MAX_PAGE_ENTRIES) / PAGE_UNIT) *
  PAGE_UNIT;
/** Most bytes of memory in a frame. */
const BODY_BYTES = 2 << 20;
/** Size of a slot that a frame is made in. */
export const PAGE_SLOT_BYTES: number = PAGE_BODY_AT + BODY_BYTES;
/** Most pages that are copied at once, before it is known that they are not zero. */
const MOST_COPIED = 128;
/** A turn ends after so many bytes were looked at, with or without a frame. */
const TURN_BYTES = 64 << 20;

const ZEROS: Uint8Array = new Uint8Array(PAGE_UNIT);
const UNIT: bigint = BigInt(PAGE_UNIT);

/** What is going to be looked at. */
export interface PagesDue {
  /** Bytes, as the tracker counts them. */
  readonly bytes: number;
  /** Whether the tracker tracks; null if it was not asked. */
  readonly verdict: TrackingVerdict | null;
  /** Why parts of it count as dirty as a whole. */
  readonly lost: readonly string[];
  /** What the tracker answered; null if it was not asked. */
  readonly reading: DirtyReading | null;
}

/** What a turn found. */
export interface PageTurn {
  /** The slot that the frame is in. */
  readonly slot: ArrayBuffer;
  /** Length of the frame's head, which ends at {@linkcode PAGE_BODY_AT}; 0 if there is no frame. */
  readonly head: number;
  /** Length of its body, in bytes. */
  readonly body: number;
  /** Whether there is no more to look at. */
  readonly done: boolean;
  /** Bytes of pages that are sent as zeros. */
  readonly zero: number;
  /** Bytes of pages that the other side has already. */
  readonly same: number;
  /** How long it took, in seconds. */
  readonly seconds: number;
}

/** What is to be looked at, inside one mapping. */
interface DueRun {
  readonly part: MemoryPart;
  readonly hashes: PageHashes;
  /** Its first page, by its number in the mapping. */
  page: number;
  /** The page behind its last one. */
  readonly end: number;
}

/** A frame that is being made. */
interface FrameInProgress {
  readonly entries: PageEntry[];
  readonly body: Uint8Array;
  /** Bytes of the body that are taken. */
  used: number;
  zero: number;
  same: number;
  /** Bytes that were looked at. */
  seen: number;
}

/** How memory is looked through. */
export interface PageScanOptions {
  /** The device's number in the stream. */
  readonly device: number;
  /** Its tracker; null if there is none. */
  readonly tracker: DirtyTracker | null;
  /**
   * Whether pages are hashed only from the second time on that they are looked at. A page that the
   * tracker reports without cause is then sent once more. Hashes are taken from the first time on
   * all the same if its pages are larger than those that are sent, or there is no tracker.
   */
  readonly lazyHashes: boolean;
  /** How many streams it is sent by. Default 1. */
  readonly streams?: number | undefined;
  /** Memory that the owner has mapped and write-protects; none if its writes are found otherwise. */
  readonly ownerMemory?: ProtectedMemory | null;
}

/** How far a stream has come through what is due. */
interface Cursor {
  readonly stream: StreamPart;
  /** The run that it is at. */
  next: number;
  /** The pages of that run that were looked at, or go by other streams. */
  done: number;
}

/** Looks through memory, frame by frame. */
export class PageScan {
  readonly #memory: DeviceMemory;
  readonly #device: number;
  readonly #tracker: DirtyTracker | null;
  readonly #ownerMemory: ProtectedMemory | null;
  /** The hashes of each part of memory. */
  readonly #hashes: readonly PageHashes[];
  readonly #copied: CopiedPages = new CopiedPages();
  /** Whether pages are looked at for the last time. */
  #last = false;
  /** Whether the last page was not zero. */
  #filled = false;
  /** How many pages are copied at once. */
  #atOnce = 1;
  /** What is to be looked at, by all streams. */
  #due: DueRun[] = [];
  readonly #cursors: readonly Cursor[];

  constructor(
    memory: DeviceMemory,
    { device, tracker, lazyHashes, streams = 1, ownerMemory = null }: PageScanOptions,
  ) {
    this.#memory = memory;
    this.#tracker = tracker;
    this.#ownerMemory = ownerMemory;
    this.#device = device;
    const lazy = lazyHashes && tracker !== null && tracker.pgsize <= PAGE_UNIT;
    this.#hashes = memory.parts.map(({ size }) => new PageHashes(Number(size / UNIT), lazy));
    this.#cursors = Array.from(
      { length: streams },
      (_, index) => ({ stream: { index, count: streams }, next: 0, done: 0 }),
    );
  }

  /**
   * Adds what is to be looked at: all memory, what became dirty since this was last asked, or the
   * pages of ranges. Without a tracker all is dirty. What the owner has mapped is protected first,
   * if its writes are found by that; no page is read before.
   *
   * @param last Whether it is the last time that something is added.
   * @throws {RangeError} If a byte of a range is in no mapping.
   * @throws {WriteProtectionError} If the owner's memory is not protected.
   */
  add(what: "all" | "dirty" | readonly IovaMapping[], last = false): PagesDue {
    this.#last = last;
    const written = typeof what !== "string" ? what : this.#written();
    const reading = what === "dirty" && this.#tracker !== null ? this.#tracker.read() : null;
    const runs = what === "all" || what === "dirty" && this.#tracker === null
      ? this.#memory.parts
      : [...reading?.runs() ?? [], ...written.flatMap((range) => this.#pagesOf(range))];
    let bytes = 0;
    for (const run of runs) {
      const index = this.#memory.parts.findIndex((part) => encloses(part, run));
      if (index < 0) continue;
      const part = this.#memory.parts[index]!;
      const page = Number((run.iova - part.iova) / UNIT);
      const end = page + Number(run.size / UNIT);
      this.#due.push({ part, hashes: this.#hashes[index]!, page, end });
      bytes += Number(run.size);
    }
    return {
      bytes,
      verdict: reading?.verdict ?? null,
      lost: reading?.lost.map(({ lost }) => lost!.message) ?? [],
      reading,
    };
  }

  /** What the owner wrote since this was last asked, as far as that is found here. */
  #written(): readonly IovaMapping[] {
    return this.#ownerMemory === null ? [] : takeWritten(libcKernel(), this.#ownerMemory);
  }

  /** The pages of a range, by mapping: it may go on from one into the next. */
  #pagesOf(range: IovaMapping): IovaMapping[] {
    const iova = range.iova - range.iova % UNIT;
    const last = range.iova + range.size + UNIT - 1n;
    const whole = { iova, size: last - last % UNIT - iova };
    const pages = this.#memory.parts.filter((part) => overlap(part, whole)).map((part) =>
      intersection(part, whole)
    );
    const mapped = pages.reduce((sum, { size }) => sum + size, 0n);
    if (range.size <= 0n || mapped < whole.size) {
      throw new RangeError(`Cannot send ${formatIova(range)}: not all of it is mapped`);
    }
    return pages;
  }

  /**
   * Makes a frame of what is due by a stream, in a slot of {@linkcode PAGE_SLOT_BYTES}.
   *
   * @param stream Its number.
   * @param at Where the body begins.
   */
  fill(slot: ArrayBuffer, stream = 0, at = PAGE_BODY_AT): PageTurn {
    const begun = performance.now();
    const turn = this.#fill({ slot, at }, this.#cursors[stream]!);
    return { ...turn, slot, seconds: (performance.now() - begun) / 1000 };
  }

  #fill(
    { slot, at }: { readonly slot: ArrayBuffer; readonly at: number },
    cursor: Cursor,
  ): Omit<PageTurn, "slot" | "seconds"> {
    const body = new Uint8Array(slot, at, BODY_BYTES);
    const frame: FrameInProgress = { entries: [], body, used: 0, zero: 0, same: 0, seen: 0 };
    while (cursor.next < this.#due.length) {
      const whole = this.#due[cursor.next]!;
      const own = ownRun(whole, cursor);
      if (own !== null) {
        this.#take(own, frame);
        cursor.done = own.page - whole.page;
        if (own.page < own.end) break;
      }
      if (own !== null && own.end < whole.end) continue;
      [cursor.next, cursor.done] = [cursor.next + 1, 0];
    }
    const { entries, used, zero, same } = frame;
    const done = cursor.next === this.#due.length;
    if (this.#cursors.every(({ next }) => next === this.#due.length)) {
      this.#due = [];
      for (const each of this.#cursors) each.next = 0;
    }
    if (entries.length === 0) return { head: 0, body: 0, done, zero, same };
    const headSize = pageHeadSize(entries.length);
    const head = new Uint8Array(slot, at - headSize, headSize);
    writePageMeta(head, entries);
    const kind = { type: FRAME_PAGE, flags: FRAME_OPTIONAL, device: this.#device };
    describeFrame(head, kind, body.subarray(0, used));
    return { head: head.length, body: used, done, zero, same };
  }

  /** Takes pages of a run until it ends, or the frame is full. */
  #take(run: DueRun, frame: FrameInProgress): void {
    const { hashes } = run;
    const { entries, body } = frame;
    /** The last entry, as long as the next page goes on from it. */
    let entry = null as { readonly iova: bigint; length: number; readonly zero: boolean } | null;
    while (run.page < run.end && entries.length < MAX_PAGE_ENTRIES && frame.seen < TURN_BYTES) {
      const { page } = run;
      // A page alone is copied at once: mostly, it does not begin with a zero, as the one before.
      let unhashed = this.#filled && run.end - page === 1 ? this.#takeUnhashed(run, frame) : 0;
      const zero = unhashed === 0 && this.#isZero(run, page);
      this.#filled = !zero;
      let length = PAGE_UNIT;
      let same = false;
      if (zero) same = hashes.zero(page);
      else {
        if (frame.used === BODY_BYTES) return;
        if (unhashed === 0) unhashed = this.#takeUnhashed(run, frame);
        if (unhashed > 0) length = PAGE_UNIT * unhashed;
        else {
          // What is sent is what was hashed, whoever writes to the page meanwhile.
          const copied = this.#copied;
          copied.copy(run, page, (into) => this.#memory.read(iovaOf(run, page), into));
          same = hashes.update(page, copied.hash(page));
          if (!same) body.set(copied.bytes(page), frame.used);
        }
      }
      frame.seen += length;
      run.page += length / PAGE_UNIT;
      if (same) {
        frame.same += length;
        entry = null;
        continue;
      }
      if (zero) frame.zero += length;
      else frame.used += length;
      if (entry !== null && entry.zero === zero && entry.length < MAX_ZEROS) entry.length += length;
      else entries.push(entry = { iova: iovaOf(run, page), length, zero });
    }
  }

  /**
   * Takes pages that are sent without a look at their hashes, from the next one on; returns how many
   * there are before the first one that is zero, or has to be hashed.
   */
  #takeUnhashed(run: DueRun, { body, used }: FrameInProgress): number {
    const { hashes, page } = run;
    const room = (BODY_BYTES - used) / PAGE_UNIT;
    const most = Math.min(run.end, page + room, page + this.#atOnce);
    let end = page;
    while (end < most && hashes.needsNone(end, this.#last)) end += 1;
    if (end === page) return 0;
    const bytes = body.subarray(used, used + (end - page) * PAGE_UNIT);
    this.#memory.read(iovaOf(run, page), bytes);
    // A page that does not begin with a zero need not be looked at from outside of the runtime.
    let pages = 0;
    while (page + pages < end) {
      if (bytes[pages * PAGE_UNIT] === 0 && this.#isZero(run, page + pages)) break;
      pages += 1;
    }
    // Where zeros are far between, fewer calls copy the same; where they are not, less is in vain.
    this.#atOnce = page + pages < end ? Math.max(1, pages) : Math.min(2 * pages, MOST_COPIED);
    hashes.sent(page, pages);
    return pages;
  }

  #isZero(run: DueRun, page: number): boolean {
    if (this.#copied.isOther(run, page)) return false;
    const { memory, offset } = run.part;
    return memory === null
      ? this.#memory.isZero(iovaOf(run, page), PAGE_UNIT)
      : hasOnlyZeros(memory, offset + page * PAGE_UNIT, PAGE_UNIT);
  }
}

/** What of a run is next by a stream; null if nothing is left of it. */
function ownRun(run: DueRun, { stream, done }: Cursor): DueRun | null {
  const first = run.page + done;
  if (stream.count === 1) return first < run.end ? { ...run, page: first } : null;
  const base = Number(run.part.iova / UNIT);
  const left: PageSpan = { page: base + first, end: base + run.end };
  const own = ownPages(left, stream);
  return own === null ? null : { ...run, page: own.page - base, end: own.end - base };
}

/** The address of a page of a run's mapping. */
function iovaOf({ part }: DueRun, page: number): bigint {
  return part.iova + BigInt(page) * UNIT;
}

/** The hashes of a range's pages as they are now: all zero bytes for a page of zeros. */
export function hashesOf(
  memory: DeviceMemory,
  { iova, size }: IovaMapping,
): Uint8Array<ArrayBuffer> {
  const pages = Number(size) / PAGE_UNIT;
  const hashes = new Uint8Array(new ArrayBuffer(pages * HASH_BYTES));
  const page = new Uint8Array(PAGE_UNIT);
  for (let index = 0; index < pages; index++) {
    const at = iova + BigInt(index * PAGE_UNIT);
    if (memory.isZero(at, PAGE_UNIT)) continue;
    memory.read(at, page);
    hashes.set(hashPage(page), index * HASH_BYTES);
  }
  return hashes;
}

/**
 * Puts what a PAGE frame holds into memory. Its meta part is in the slot behind room for the frame's
 * header, its body at {@linkcode PAGE_BODY_AT}.
 *
 * @throws {RangeError} If there is no such memory.
 */
export function storePages(
  memory: DeviceMemory,
  slot: ArrayBuffer,
  metaLength: number,
  bodyLength: number,
): void {
  const meta = new Uint8Array(slot, FRAME_HEADER_SIZE, metaLength);
  const entries = parsePageMeta(meta, bodyLength);
  if (typeof entries === "string") throw new RangeError(`Cannot store memory: ${entries}`);
  storeEntries(memory, entries, new Uint8Array(slot, PAGE_BODY_AT, bodyLength));
}

/**
 * Puts into memory what the entries of a PAGE frame say, and its body.
 *
 * @throws {RangeError} If there is no such memory.
 */
export function storeEntries(
  memory: DeviceMemory,
  entries: readonly PageEntry[],
  body: Uint8Array,
): void {
  let at = 0;
  for (const { iova, length, zero } of entries) {
    if (!zero) {
      memory.write(iova, body.subarray(at, at + length));
      at += length;
      continue;
    }
    for (let done = 0; done < length; done += PAGE_UNIT) {
      memory.write(iova + BigInt(done), ZEROS);
    }
  }
}
