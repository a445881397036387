/**
 * A part of a server's file that is accessed like mapped memory, but by pread and pwrite: a server
 * that cut its file short would kill a process that had mapped it (SIGBUS).
 */

import { ERRNO } from "../../kernel/errno_names.ts";
import type { Kernel, Mapping } from "../../kernel/kernel.ts";
import { checkRange } from "../../kernel/mapping_range.ts";
import { SysError } from "../../kernel/sys_error.ts";

/** Such a part. It keeps no fd: the file must stay open. */
export class FileMapping implements Mapping {
  /** It is at no address of this process. */
  readonly address = 0n;
  readonly length: number;
  readonly #kernel: Kernel;
  readonly #fd: number;
  readonly #offset: bigint;
  #open = true;

  constructor(kernel: Kernel, fd: number, offset: bigint, length: number) {
    this.#kernel = kernel;
    this.#fd = fd;
    this.#offset = offset;
    this.length = length;
  }

  read(offset: number, into: Uint8Array): void {
    this.#move(offset, into, "pread");
  }

  write(offset: number, from: Uint8Array): void {
    this.#move(offset, from, "pwrite");
  }

  #move(offset: number, bytes: Uint8Array, call: "pread" | "pwrite"): void {
    checkRange(this, this.#open, offset, bytes.length);
    const at = this.#offset + BigInt(offset);
    const done = bytes.length === 0 ? 0 : this.#kernel[call](this.#fd, bytes, at);
    if (done === bytes.length) return;
    throw new SysError(call, ERRNO.EFAULT, `${bytes.length} bytes at ${at} of a region's file`);
  }

  close(): void {
    this.#open = false;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
