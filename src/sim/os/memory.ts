/**
 * The address space of the simulated process: mappings, and the memory behind each.
 * The addresses mean nothing outside the simulation.
 */

import type { Mapping } from "../../kernel/kernel.ts";
import { checkRange } from "../../kernel/mapping_range.ts";
import type { MappedRange } from "./open_file.ts";
import { refuse } from "./refusal.ts";
import type { Bytes } from "./bytes.ts";
import type { UserMemory } from "./user_memory.ts";

const PAGE = 4096n;
const FIRST_ADDRESS = 0x7f00_0000_0000n;

/** Anonymous memory of the process, in whole pages. */
class AnonymousRange implements MappedRange {
  readonly bytes: Bytes;

  constructor(length: number) {
    try {
      this.bytes = new Uint8Array(Number(wholePages(length)));
    } catch {
      refuse("ENOMEM");
    }
  }

  load(offset: number, into: Uint8Array): void {
    into.set(this.bytes.subarray(offset, offset + into.length));
  }

  store(offset: number, from: Uint8Array): void {
    this.bytes.set(from, offset);
  }
}

class SimMapping implements Mapping {
  readonly address: bigint;
  readonly length: number;
  #range: MappedRange | null;
  readonly #closed: () => void;

  constructor(address: bigint, length: number, range: MappedRange, closed: () => void) {
    this.address = address;
    this.length = length;
    this.#range = range;
    this.#closed = closed;
  }

  #check(offset: number, count: number): MappedRange {
    checkRange(this, this.#range !== null, offset, count);
    return this.#range!;
  }

  read(offset: number, into: Uint8Array): void {
    this.#check(offset, into.length).load(offset, into);
  }

  write(offset: number, from: Uint8Array): void {
    this.#check(offset, from.length).store(offset, from);
  }

  close(): void {
    if (this.#range === null) return;
    this.#range = null;
    this.#closed();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function wholePages(length: number): bigint {
  return (BigInt(length) + PAGE - 1n) / PAGE * PAGE;
}

/** Memory that the kernel accesses by its address. */
interface Mapped {
  readonly mapping: Mapping;
  readonly range: MappedRange;
  /** The first address after its last page. */
  readonly end: bigint;
}

/** The address space of a simulated process. */
export class Memory implements UserMemory {
  readonly #mappings: Map<bigint, Mapped> = new Map();
  #next = FIRST_ADDRESS;

  /** The mappings. */
  get mappings(): Iterable<Mapping> {
    return [...this.#mappings.values()].map(({ mapping }) => mapping);
  }

  #find(address: bigint, length: bigint): Mapped | null {
    for (const mapped of this.#mappings.values()) {
      if (mapped.mapping.address <= address && address + length <= mapped.end) return mapped;
    }
    return null;
  }

  has(address: bigint, length: bigint): boolean {
    return this.#find(address, length) !== null;
  }

  read(address: bigint, into: Bytes): void {
    const { mapping, range } = this.#find(address, BigInt(into.length)) ?? refuse("EFAULT");
    range.load(Number(address - mapping.address), into);
  }

  write(address: bigint, from: Bytes): void {
    const { mapping, range } = this.#find(address, BigInt(from.length)) ?? refuse("EFAULT");
    range.store(Number(address - mapping.address), from);
  }

  /** Maps anonymous memory, all zero. */
  anonymous(length: number): Mapping {
    return this.map(length, new AnonymousRange(length), () => {});
  }

  /** Maps a range; `closed` is called when it is unmapped. */
  map(length: number, range: MappedRange, closed: () => void): Mapping {
    const address = this.#next;
    const end = address + wholePages(length);
    // An unmapped page follows each mapping, so an overrun never reaches another mapping.
    this.#next = end + PAGE;
    const mapping = new SimMapping(address, length, range, () => {
      this.#mappings.delete(address);
      closed();
    });
    this.#mappings.set(address, { mapping, range, end });
    return mapping;
  }
}
