/**
 * Memory with an fd: what memfd_create(2) gives.
 */

import { type MappedRange, OpenFile } from "./_open_file.ts";
import { refuse } from "./_refusal.ts";
import type { Bytes } from "./_region.ts";
import type { Argument } from "./_user.ts";

const PAGE = 4096;

/** A memfd: every mapping of it shows the same bytes. */
export class MemfdFile extends OpenFile {
  readonly label: string;
  readonly #length: number;
  /** In whole pages, as they are mapped. */
  readonly #bytes: Bytes;

  constructor(name: string, length: number) {
    super();
    this.label = `memfd ${name}`;
    this.#length = length;
    try {
      this.#bytes = new Uint8Array(Math.ceil(length / PAGE) * PAGE);
    } catch {
      refuse("ENOMEM");
    }
  }

  protected release(): void {
    // Memory only: the garbage collector has it.
  }

  ioctl(_request: number, _arg: Argument): number {
    return refuse("ENOTTY");
  }

  override pread(at: number, into: Bytes): number {
    const part = this.#bytes.subarray(at, Math.min(at + into.length, this.#length));
    into.set(part);
    return part.length;
  }

  override pwrite(at: number, from: Bytes): number {
    // A memfd grows when it is written to; nobody who sized it needs that.
    if (at + from.length > this.#length) refuse("ENOSPC");
    this.#bytes.set(from, at);
    return from.length;
  }

  override mmap(at: number, _length: number, shared: boolean): MappedRange {
    // Linux maps privately as well; nobody who wants memory for DMA does.
    if (!shared) refuse("EINVAL");
    // What lies behind its last page is EFAULT to the kernel (to a process, SIGBUS).
    const bytes = (offset: number, length: number): Bytes =>
      at + offset + length > this.#bytes.length
        ? refuse("EFAULT")
        : this.#bytes.subarray(at + offset, at + offset + length);
    return {
      load: (offset, into) => into.set(bytes(offset, into.length)),
      store: (offset, from) => bytes(offset, from.length).set(from),
    };
  }
}
