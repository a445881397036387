/**
 * An open file of the simulated kernel: the base class of all kinds of files.
 */

import { POLLIN, POLLOUT } from "../../kernel/kernel.ts";
import { refuse } from "./refusal.ts";
import type { Bytes } from "./bytes.ts";
import type { Argument } from "./user.ts";

/** Installs an fd for a file; the fd is its first holder. */
export type Install = (file: OpenFile) => number;

/** The memory behind a mapping of a file. */
export interface MappedRange {
  /** Copies bytes out of the mapping, from `offset` on. */
  load(offset: number, into: Uint8Array): void;
  /** Copies bytes into the mapping, to `offset`. */
  store(offset: number, from: Uint8Array): void;
}

/**
 * An open file. Its fds, its mappings and other files hold it; it is released when
 * the last holder drops it. Each kind of file has its own ioctls: the numbers of
 * VFIO's requests have different meanings on different kinds.
 */
export abstract class OpenFile {
  /** The file's name in messages. */
  abstract readonly label: string;
  #holders = 0;

  /** Adds a holder. */
  hold(): void {
    this.#holders += 1;
  }

  /** Removes a holder. */
  drop(): void {
    this.#holders -= 1;
    if (this.#holders === 0) this.release();
  }

  /** The last holder is gone. */
  protected abstract release(): void;

  /** ioctl(2). */
  abstract ioctl(request: number, arg: Argument): number;

  /** read(2). Most files are read by position, with pread. */
  read(_into: Bytes): number {
    return refuse("EINVAL");
  }

  /** write(2). Most files are written by position, with pwrite. */
  write(_from: Bytes): number {
    return refuse("EINVAL");
  }

  /** poll(2) without waiting. A file whose calls never block is always ready. */
  poll(events: number): number {
    return events & (POLLIN | POLLOUT);
  }

  /** pread(2). */
  pread(_at: number, _into: Bytes): number {
    return refuse("EINVAL");
  }

  /** pwrite(2). */
  pwrite(_at: number, _from: Bytes): number {
    return refuse("EINVAL");
  }

  /** mmap(2), shared or private. */
  mmap(_at: number, _length: number, _shared: boolean): MappedRange {
    return refuse("ENODEV");
  }
}
