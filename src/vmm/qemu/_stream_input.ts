/**
 * Bytes of a stream, taken one number at a time, at any length of its chunks.
 */

import { VmmFileError } from "../vmm_file_error.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * A stream's bytes. What is wanted often is read without waiting: {@linkcode StreamInput.left} says
 * how many bytes can be had at once, {@linkcode StreamInput.need} waits for more.
 */
export class StreamInput {
  readonly #chunks: AsyncIterator<Bytes>;
  /** The chunk that is being read, or a seam: the end of one chunk with the start of the next. */
  #bytes: Bytes = new Uint8Array(0);
  #view: DataView = new DataView(this.#bytes.buffer);
  #at = 0;
  /** The rest of a chunk whose start is in the seam. */
  #rest: Bytes | null = null;
  /** The offset of the first of the bytes in the stream. */
  #base = 0;
  /** What is being read, for messages. */
  what = "the header";

  constructor(chunks: AsyncIterable<Bytes>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** The offset of the next byte in the stream. */
  get offset(): number {
    return this.#base + this.#at;
  }

  /** Bytes that can be taken at once. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** Gives up the rest of the stream. */
  async cancel(): Promise<void> {
    await this.#chunks.return?.();
  }

  /** Waits until `count` bytes can be taken; they are few. */
  async need(count: number): Promise<void> {
    while (this.left < count) {
      // A copy: the next chunk may come in the same buffer.
      const left = this.#bytes.slice(this.#at);
      const next = await this.#next();
      if (next === null) throw this.#ended();
      if (left.length === 0) {
        this.#set(next, null);
        continue;
      }
      const taken = Math.min(next.length, count - left.length);
      const seam = new Uint8Array(left.length + taken);
      seam.set(left);
      seam.set(next.subarray(0, taken), left.length);
      this.#set(seam, next.subarray(taken));
    }
  }

  /** Skips bytes. */
  async skip(count: number): Promise<void> {
    let rest = count;
    while (rest > this.left) {
      rest -= this.left;
      this.#at = this.#bytes.length;
      const next = await this.#next();
      if (next === null) throw this.#ended();
      this.#set(next, null);
    }
    this.#at += rest;
  }

  /** Skips bytes that can be taken at once. */
  skipNow(count: number): void {
    this.#at += count;
  }

  /** Four bytes from `at` behind the next one, which can be taken at once. */
  be32At(at: number): number {
    return this.#view.getUint32(this.#at + at);
  }

  /** The next byte. */
  async byte(): Promise<number> {
    if (this.left < 1) await this.need(1);
    return this.#bytes[this.#at++]!;
  }

  /** The next byte, which stays; null at the end. */
  async peek(): Promise<number | null> {
    while (this.left === 0) {
      const next = await this.#next();
      if (next === null) return null;
      this.#set(next, null);
    }
    return this.#bytes[this.#at]!;
  }

  /** The next two bytes. */
  async be16(): Promise<number> {
    return (await this.byte()) << 8 | await this.byte();
  }

  /** The next four bytes. */
  async be32(): Promise<number> {
    if (this.left < 4) await this.need(4);
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4);
  }

  /** The next eight bytes, a count that must be below 2^53. */
  async count(): Promise<number> {
    const at = this.offset;
    const high = await this.be32();
    const value = high * 2 ** 32 + await this.be32();
    if (high < 0x200000) return value;
    throw new VmmFileError("damaged", at, `${this.what} has a length of 0x${high.toString(16)}…`);
  }

  /** A string behind a byte with its length. */
  async string(): Promise<string> {
    return await this.text(await this.byte());
  }

  /** A string of so many bytes. */
  async text(length: number): Promise<string> {
    await this.need(length);
    const text = new TextDecoder("latin1").decode(
      this.#bytes.subarray(this.#at, this.#at + length),
    );
    this.#at += length;
    return text;
  }

  /** All that is left, at most `max` bytes; null if it is more. */
  async rest(max: number): Promise<Bytes | null> {
    const parts: Bytes[] = [];
    let length = 0;
    for (;;) {
      // A copy: the next chunk may come in the same buffer.
      const part = this.#bytes.slice(this.#at);
      this.#at = this.#bytes.length;
      parts.push(part);
      length += part.length;
      if (length > max) return null;
      const next = await this.#next();
      if (next === null) break;
      this.#set(next, null);
    }
    const all = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  #ended(): VmmFileError {
    return new VmmFileError(
      "truncated",
      this.#base + this.#bytes.length,
      `it ends in ${this.what}`,
    );
  }

  async #next(): Promise<Bytes | null> {
    const rest = this.#rest;
    if (rest !== null) {
      this.#rest = null;
      if (rest.length > 0) return rest;
    }
    const { done, value } = await this.#chunks.next();
    return done ? null : value;
  }

  #set(bytes: Bytes, rest: Bytes | null): void {
    this.#base = this.offset;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#at = 0;
    this.#rest = rest;
  }
}
