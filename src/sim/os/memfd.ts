/**
 * A memfd: memory with an fd, as memfd_create(2) makes it.
 */

import { type MappedRange, OpenFile } from "./open_file.ts";
import { refuse } from "./refusal.ts";
import type { Bytes } from "./bytes.ts";
import type { Argument } from "./user.ts";

const PAGE = 4096;

/** A memfd; all mappings of it share the same bytes. */
export class MemfdFile extends OpenFile {
  readonly label: string;
  readonly #length: number;
  /** The bytes, in whole pages as they are mapped. */
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
    // Memory only: the garbage collector frees it.
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
    // A real memfd would grow; callers of this simulation don't need that.
    if (at + from.length > this.#length) refuse("ENOSPC");
    this.#bytes.set(from, at);
    return from.length;
  }

  override mmap(at: number, _length: number, shared: boolean): MappedRange {
    // Linux supports private mappings too, but they are of no use for DMA.
    if (!shared) refuse("EINVAL");
    // Access beyond the last page is EFAULT in the kernel (SIGBUS in a process).
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
