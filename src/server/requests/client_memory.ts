/**
 * Memory of a client's that the device reaches: through an fd that the client sent, or by messages.
 */

import { ERRNO } from "../../kernel/errno_names.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { SysError } from "../../kernel/sys_error.ts";
import type { OutsideMemory } from "../../sim/mod.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Memory behind an fd. It is read and written by pread and pwrite, not mapped: a client may cut the
 * file short at any time, and a process that then touches a mapping of it is killed (SIGBUS).
 */
export class FdMemory implements OutsideMemory {
  readonly #kernel: Kernel;
  readonly #fd: number;
  readonly #offset: number;

  /** Uses an fd that the caller closes; the memory begins at `offset` of it. */
  constructor(kernel: Kernel, fd: number, offset: number) {
    this.#kernel = kernel;
    this.#fd = fd;
    this.#offset = offset;
  }

  read(offset: number, into: Bytes): void {
    this.#all(offset, into, (part, at) => this.#kernel.pread(this.#fd, part, at));
  }

  write(offset: number, from: Bytes): void {
    this.#all(offset, from, (part, at) => this.#kernel.pwrite(this.#fd, part, at));
  }

  #all(offset: number, bytes: Bytes, move: (part: Bytes, at: number) => number): void {
    for (let done = 0; done < bytes.length;) {
      const count = move(bytes.subarray(done), this.#offset + offset + done);
      if (count === 0) throw new SysError("pread", ERRNO.EFAULT, "memory of a client");
      done += count;
    }
  }
}

/** Asks a client to read or write its memory (DMA_READ, DMA_WRITE). */
export interface DmaMessages {
  /** The most bytes of one message. */
  readonly most: number;
  /** Reads. */
  read(address: bigint, into: Bytes): void;
  /** Writes. */
  write(address: bigint, from: Bytes): void;
}

/** Memory that the client reads and writes for us. */
export class MessageMemory implements OutsideMemory {
  readonly #messages: DmaMessages;
  readonly #address: bigint;

  /** Memory at this address of the device's. */
  constructor(messages: DmaMessages, address: bigint) {
    this.#messages = messages;
    this.#address = address;
  }

  read(offset: number, into: Bytes): void {
    this.#each(into, (part, at) => this.#messages.read(this.#address + BigInt(offset + at), part));
  }

  write(offset: number, from: Bytes): void {
    this.#each(from, (part, at) => this.#messages.write(this.#address + BigInt(offset + at), part));
  }

  #each(bytes: Bytes, move: (part: Bytes, at: number) => void): void {
    const { most } = this.#messages;
    for (let at = 0; at < bytes.length; at += most) move(bytes.subarray(at, at + most), at);
  }
}
