/**
 * A regular file from its start, chunk by chunk.
 *
 * What the kernel has in memory is read at once, on this thread: to wake another one and to wait
 * for it takes as long as the copy. A file that is slower is read by other threads, several reads
 * at a time, and this thread waits for none of them.
 */

import { setImmediate } from "node:timers/promises";
import { recycle, takeBuffer } from "../batches/buffer_pool.ts";
import type { ByteReads } from "./direct_stream.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A read of a buffer that takes longer than this, in milliseconds, has waited for the disk. */
const SLOW_MS = 5;

/** After so many milliseconds of reading on this thread the event loop has its turn. */
const TURN_MS = 4;

/** Reads under way at a time, on other threads. */
const AHEAD = 3;

/** How to read a file: some bytes at a position, 0 at the end. */
export interface FileReads {
  /** Reads on this thread. */
  now(into: Bytes, position: number): number;
  /** Reads on another thread. */
  later(into: Bytes, position: number): Promise<number>;
}

/** A read on another thread. */
interface ReadUnderWay {
  readonly buffer: Bytes;
  readonly position: number;
  readonly count: Promise<number>;
}

/** Reads a file into buffers of the pool. */
export class FileChunks implements ByteReads {
  readonly #reads: FileReads;
  readonly #size: number;
  readonly #clock: () => number;
  #position = 0;
  #slow = false;
  /** When the event loop last had its turn. */
  #turn: number;
  #underWay: ReadUnderWay[] = [];
  /** What is left of a chunk that was read ahead. */
  #rest: Bytes | null = null;

  /**
   * @param size The file's size, as far as known: nothing is read ahead behind it.
   * @param clock Milliseconds since any one time.
   */
  constructor(reads: FileReads, size: number, clock = (): number => performance.now()) {
    this.#reads = reads;
    this.#size = size;
    this.#clock = clock;
    this.#turn = clock();
  }

  async next(): Promise<Bytes | null> {
    if (this.#slow) return await this.#readAhead();
    const buffer = takeBuffer();
    return chunk(buffer, await this.#readNow(buffer));
  }

  async read(into: Bytes): Promise<number> {
    if (!this.#slow) return await this.#readNow(into);
    const from = this.#rest ?? await this.#readAhead();
    if (from === null) return 0;
    const part = from.subarray(0, into.length);
    into.set(part);
    this.#rest = part.length < from.length ? from.subarray(part.length) : null;
    if (this.#rest === null) recycle(from.buffer);
    return part.length;
  }

  async #readNow(into: Bytes): Promise<number> {
    if (this.#clock() - this.#turn > TURN_MS) {
      await setImmediate();
      this.#turn = this.#clock();
    }
    const begun = this.#clock();
    const count = this.#reads.now(into, this.#position);
    this.#slow = this.#clock() - begun > SLOW_MS;
    this.#position += count;
    return count;
  }

  async #readAhead(): Promise<Bytes | null> {
    while (
      this.#underWay.length === 0 ||
      (this.#underWay.length < AHEAD && this.#position < this.#size)
    ) this.#begin();
    const { buffer, position, count: reading } = this.#underWay.shift()!;
    const count = await reading;
    if (count < buffer.length) {
      // The reads behind it began too far on.
      await this.settle();
      this.#position = position + count;
    }
    return chunk(buffer, count);
  }

  #begin(): void {
    const buffer = takeBuffer();
    const position = this.#position;
    const count = this.#reads.later(buffer, position);
    // A failure is reported when it is this read's turn.
    count.catch(() => {});
    this.#underWay.push({ buffer, position, count });
    this.#position += buffer.length;
  }

  /** What the reads under way have read is dropped. */
  async settle(): Promise<void> {
    const dropped = this.#underWay;
    this.#underWay = [];
    await Promise.allSettled(dropped.map(({ count }) => count));
    for (const { buffer } of dropped) recycle(buffer.buffer);
  }
}

function chunk(buffer: Bytes, count: number): Bytes | null {
  if (count > 0) return buffer.subarray(0, count);
  recycle(buffer.buffer);
  return null;
}
