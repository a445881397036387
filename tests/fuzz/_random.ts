/**
 * The one source of randomness: what a seed gives is the same in every runtime and on every day.
 */

/** Random numbers from a seed (sfc32). */
export class Random {
  #a = 0;
  #b = 0;
  #c: number;
  #counter = 1;

  /** Seeds that follow each other give numbers that have nothing in common. */
  constructor(seed: number) {
    this.#c = seed >>> 0;
    for (let round = 0; round < 16; round++) this.u32();
  }

  /** 0 to 2^32 - 1. */
  u32(): number {
    const sum = (this.#a + this.#b + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) >>> 0;
    return sum;
  }

  /** A whole number from 0 up to, and not including, `below`. */
  below(below: number): number {
    return Math.floor((this.u32() / 2 ** 32) * below);
  }

  /** A whole number from `least` to `most`, small ones more often. */
  few(least: number, most: number): number {
    const part = this.u32() / 2 ** 32;
    return Math.min(most, least + Math.floor((most - least + 1) ** part) - 1);
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.u32() < probability * 2 ** 32;
  }

  /** One of a list. */
  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new RangeError("Cannot pick from an empty list");
    return list[this.below(list.length)]!;
  }

  /** Bytes; some are all alike, as memory often is. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    if (this.chance(0.3)) return bytes.fill(this.u32());
    for (let index = 0; index < length; index++) bytes[index] = this.u32();
    return bytes;
  }

  /** A number at which things tend to break. */
  edge(): number {
    const edges = [0, 1, 2, 3, 4, 7, 8, 255, 4095, 4096, 4097, 65535, 65536, 2 ** 24, 2 ** 31 - 1];
    const far = [2 ** 31, 2 ** 32 - 1, 2 ** 32 - 8];
    return this.chance(0.7) ? this.pick([...edges, ...far]) : this.u32();
  }
}
