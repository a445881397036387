/**
 * The state of a device in a snapshot: JSON in a string of JSON, with one text in base64.
 */

import { VmmFileError } from "../vmm_file_error.ts";
import type { StringSink } from "./_json_scanner.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Where a device's state is in the file. */
export interface BlobText {
  /** Where its base64 begins. */
  readonly offset: number;
  /** The bytes of base64, a multiple of 4. */
  readonly length: number;
  /** The bytes of state that it is of. */
  readonly bytes: number;
}

const HEAD = new TextEncoder().encode(String.raw`{\"blob\":\"`);
const TAIL = new TextEncoder().encode(String.raw`\"}`);

const BACKSLASH = 0x5c;
const PAD = 0x3d;

/** What a byte is in base64; 255 for what is none. */
const VALUE = new Uint8Array(256).fill(255);
for (
  const [value, char] of [
    ..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
  ].entries()
) VALUE[char.charCodeAt(0)] = value;

/** Takes the string, checks each byte, and says where the base64 is. */
export class BlobSink implements StringSink {
  readonly #name: string;
  readonly #done: (text: BlobText) => void;
  /** Bytes of the head, and of the tail, that were there. */
  #head = 0;
  #tail = 0;
  #offset = 0;
  #digits = 0;
  #padding = 0;
  /** The last byte that is no padding. */
  #last = 0;

  /** @param name The device, for messages. */
  constructor(name: string, done: (text: BlobText) => void) {
    this.#name = name;
    this.#done = done;
  }

  write(bytes: Bytes, offset: number): void {
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at]!;
      if (this.#head < HEAD.length) {
        if (byte !== HEAD[this.#head]) throw this.#other(offset + at);
        this.#head++;
        this.#offset = offset + at + 1;
      } else if (this.#tail > 0 || byte === BACKSLASH) {
        if (byte !== TAIL[this.#tail]) throw this.#other(offset + at);
        this.#tail++;
      } else if (byte === PAD) this.#padding++;
      else at = this.#take(bytes, at, offset);
    }
  }

  /** Takes digits as far as they go; returns where the last one is. */
  #take(bytes: Bytes, from: number, offset: number): number {
    let at = from;
    while (at < bytes.length && VALUE[bytes[at]!] !== 255) at++;
    if (at === from || this.#padding > 0) throw this.#damaged(offset + from);
    this.#digits += at - from;
    this.#last = VALUE[bytes[at - 1]!]!;
    return at - 1;
  }

  end(offset: number): void {
    if (this.#head < HEAD.length || this.#tail < TAIL.length) throw this.#other(offset);
    const length = this.#digits + this.#padding;
    // What a padded end has too many of bits is zero.
    const spare = this.#padding === 2 ? 15 : this.#padding === 1 ? 3 : 0;
    if (length % 4 !== 0 || this.#padding > 2 || (this.#last & spare) !== 0) {
      throw this.#damaged(offset);
    }
    this.#done({ offset: this.#offset, length, bytes: length / 4 * 3 - this.#padding });
  }

  #damaged(offset: number): VmmFileError {
    return new VmmFileError("damaged", offset, `the state of ${this.#name} is no base64 here`);
  }

  #other(offset: number): VmmFileError {
    return new VmmFileError(
      "unsupported",
      offset,
      `the state of ${this.#name} is not {"blob":"…"} in base64, as cloud-hypervisor 53 writes it`,
    );
  }
}
