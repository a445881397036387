/**
 * Memory with an fd: what memfd_create(2) gives.
 */

import { type MappedRange, OpenFile } from "./_open_file.ts";
import { refuse } from "./_refusal.ts";
import type { Bytes } from "./_region.ts";
import type { Argument } from "./_user.ts";

/** A memfd: every mapping of it shows the same bytes. */
export class MemfdFile extends OpenFile {
  readonly label: string;
  readonly #bytes: Bytes;

  constructor(name: string, length: number) {
    super();
    this.label = `memfd ${name}`;
    try {
      this.#bytes = new Uint8Array(length);
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
    const part = this.#bytes.subarray(at, at + into.length);
    into.set(part);
    return part.length;
  }

  override pwrite(at: number, from: Bytes): number {
    // A memfd grows when it is written to; nobody who sized it needs that.
    if (at + from.length > this.#bytes.length) refuse("ENOSPC");
    this.#bytes.set(from, at);
    return from.length;
  }

  override mmap(at: number, length: number, shared: boolean): MappedRange {
    // Linux maps privately and behind the end as well, where a touch is SIGBUS;
    // nobody who wants memory for DMA does either.
    const end = Math.ceil(this.#bytes.length / 4096) * 4096;
    if (!shared || at + length > end) refuse("EINVAL");
    return {
      load: (offset, into) =>
        into.set(this.#bytes.subarray(at + offset, at + offset + into.length)),
      store: (offset, from) => this.#bytes.set(from, at + offset),
    };
  }
}
