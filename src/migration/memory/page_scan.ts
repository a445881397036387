/**
 * Finds the memory that is to be sent, on the device's thread: what is dirty, or all of it, without
 * what the other side has already.
 */

import { Buffer } from "node:buffer";
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
import type { DeviceMemory, DirtyTracker, TrackingVerdict } from "../../dirty/mod.ts";
import { encloses, type IovaMapping } from "../../vfio/dma/iova.ts";
import { hashPage, PageHashes } from "./page_hashes.ts";

/** Bytes of a slot before the body: the head of a frame with the most entries, in whole pages. */
export const PAGE_BODY_AT: number = Math.ceil(pageHeadSize(MAX_PAGE_ENTRIES) / PAGE_UNIT) *
  PAGE_UNIT;
/** Most bytes of memory in a frame. */
const BODY_BYTES = 1 << 20;
/** Size of a slot that a frame is made in. */
export const PAGE_SLOT_BYTES: number = PAGE_BODY_AT + BODY_BYTES;
/** A turn ends after so many bytes were looked at, with or without a frame. */
const TURN_BYTES = 64 << 20;

const ZEROS: Uint8Array = new Uint8Array(PAGE_UNIT);

/** What is going to be looked at. */
export interface PagesDue {
  /** Bytes, as the tracker counts them. */
  readonly bytes: number;
  /** Whether the tracker tracks; null if it was not asked. */
  readonly verdict: TrackingVerdict | null;
  /** Why parts of it count as dirty as a whole. */
  readonly lost: readonly string[];
}

/** What a turn found. */
export interface PageTurn {
  /** Length of the frame's head in the slot, in bytes; 0 if there is no frame. */
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

/** Looks through memory, frame by frame. */
export class PageScan {
  readonly #memory: DeviceMemory;
  readonly #device: number;
  readonly #tracker: DirtyTracker | null;
  readonly #hashes: readonly PageHashes[];
  /** What is to be looked at, from the `#next` one on. */
  #due: IovaMapping[] = [];
  #next = 0;

  /** `device` is its number in the stream. */
  constructor(memory: DeviceMemory, tracker: DirtyTracker | null, device: number) {
    this.#memory = memory;
    this.#tracker = tracker;
    this.#device = device;
    this.#hashes = memory.parts.map((part) =>
      new PageHashes(part, Number(part.size / BigInt(PAGE_UNIT)))
    );
  }

  /**
   * Adds what is to be looked at: all memory, or what became dirty since this was last asked. Without
   * a tracker all is dirty.
   */
  add(what: "all" | "dirty"): PagesDue {
    const reading = what === "dirty" && this.#tracker !== null ? this.#tracker.read() : null;
    const runs = reading === null
      ? this.#memory.parts.map(({ iova, size }) => ({ iova, size }))
      : [...reading.runs()].filter((run) => this.#memory.parts.some((part) => encloses(part, run)));
    this.#due = [...this.#due, ...runs];
    return {
      bytes: runs.reduce((sum, { size }) => sum + Number(size), 0),
      verdict: reading?.verdict ?? null,
      lost: reading?.lost.map(({ lost }) => lost!.message) ?? [],
    };
  }

  /** Makes a frame of what is due, in a slot of {@linkcode PAGE_SLOT_BYTES}. */
  fill(slot: SharedArrayBuffer): PageTurn {
    const begun = performance.now();
    const turn = this.#fill(slot);
    return { ...turn, seconds: (performance.now() - begun) / 1000 };
  }

  #fill(slot: SharedArrayBuffer): Omit<PageTurn, "seconds"> {
    const body = new Uint8Array(slot, PAGE_BODY_AT, BODY_BYTES);
    const entries: PageEntry[] = [];
    let [used, zero, same, seen] = [0, 0, 0, 0];
    for (;;) {
      const run = this.#due[this.#next];
      if (run === undefined || seen >= TURN_BYTES) break;
      const page = used + PAGE_UNIT <= BODY_BYTES ? body.subarray(used, used + PAGE_UNIT) : null;
      if (page === null || entries.length >= MAX_PAGE_ENTRIES) break;
      this.#memory.read(run.iova, page);
      seen += PAGE_UNIT;
      const isZero = Buffer.compare(page, ZEROS) === 0;
      if (this.#note(run.iova, isZero ? null : page)) same += PAGE_UNIT;
      else {
        join(entries, { iova: run.iova, length: PAGE_UNIT, zero: isZero });
        if (isZero) zero += PAGE_UNIT;
        else used += PAGE_UNIT;
      }
      this.#advance(run);
    }
    const done = this.#next === this.#due.length;
    if (done) [this.#due, this.#next] = [[], 0];
    if (entries.length === 0) return { head: 0, body: 0, done, zero, same };
    const head = new Uint8Array(slot, 0, pageHeadSize(entries.length));
    writePageMeta(head, entries);
    const kind = { type: FRAME_PAGE, flags: FRAME_OPTIONAL, device: this.#device };
    describeFrame(head, kind, body.subarray(0, used));
    return { head: head.length, body: used, done, zero, same };
  }

  #advance({ iova, size }: IovaMapping): void {
    const page = BigInt(PAGE_UNIT);
    if (size > page) this.#due[this.#next] = { iova: iova + page, size: size - page };
    else this.#next += 1;
  }

  /** Whether the other side has a page like this one already; from now on it has. */
  #note(iova: bigint, page: Uint8Array | null): boolean {
    const hashes = this.#hashes.find(({ range }) =>
      range.iova <= iova && iova < range.iova + range.size
    )!;
    const number = Number((iova - hashes.range.iova) / BigInt(PAGE_UNIT));
    return hashes.update(number, page === null ? null : hashPage(page));
  }
}

/** Adds an entry, or lets the last one go on. */
function join(entries: PageEntry[], next: PageEntry): void {
  const last = entries.at(-1);
  if (
    last !== undefined && last.zero === next.zero &&
    last.iova + BigInt(last.length) === next.iova && last.length < MAX_ZEROS
  ) {
    entries[entries.length - 1] = { ...last, length: last.length + next.length };
  } else entries.push(next);
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
    memory.read(iova + BigInt(index * PAGE_UNIT), page);
    if (Buffer.compare(page, ZEROS) !== 0) hashes.set(hashPage(page), index * HASH_BYTES);
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
  slot: SharedArrayBuffer,
  metaLength: number,
  bodyLength: number,
): void {
  // A copy, as a view of shared memory could change between two looks at it.
  const meta = new Uint8Array(slot, FRAME_HEADER_SIZE, metaLength).slice();
  const entries = parsePageMeta(meta, bodyLength);
  if (typeof entries === "string") throw new RangeError(`Cannot store memory: ${entries}`);
  let at = PAGE_BODY_AT;
  for (const { iova, length, zero } of entries) {
    if (!zero) {
      memory.write(iova, new Uint8Array(slot, at, length));
      at += length;
      continue;
    }
    for (let done = 0; done < length; done += PAGE_UNIT) {
      memory.write(iova + BigInt(done), ZEROS);
    }
  }
}
