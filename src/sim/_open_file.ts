/**
 * What an fd stands for: the kinds of open files, and who holds them.
 */

import { POLLIN, POLLOUT } from "../kernel/kernel.ts";
import { refuse } from "./_refusal.ts";
import type { Bytes } from "./_region.ts";
import type { Argument } from "./_user.ts";

/** Makes an fd for a file; the fd is its first holder. */
export type Install = (file: OpenFile) => number;

/** What a mapping of a file reaches. */
export interface MappedRange {
  /** Copies bytes out, from `offset` of the mapping on. */
  load(offset: number, into: Bytes): void;
  /** Copies bytes in. */
  store(offset: number, from: Bytes): void;
}

/**
 * An open file, held by its fds, its mappings and other files; when the last of
 * them lets go, it is released. A request means what the kind of file makes of
 * it: the numbers of VFIO's ioctls repeat from kind to kind.
 */
export abstract class OpenFile {
  /** What it is, for people. */
  abstract readonly label: string;
  #holders = 0;

  /** Holds the file. */
  hold(): void {
    this.#holders += 1;
  }

  /** Lets go of it. */
  drop(): void {
    this.#holders -= 1;
    if (this.#holders === 0) this.release();
  }

  /** Nobody holds it any more. */
  protected abstract release(): void;

  /** ioctl(2). */
  abstract ioctl(request: number, arg: Argument): number;

  /** read(2): most files have positions, and pread is the way to read them. */
  read(_into: Bytes): number {
    return refuse("EINVAL");
  }

  /** write(2), likewise. */
  write(_from: Bytes): number {
    return refuse("EINVAL");
  }

  /** poll(2), at once: a file that never makes anybody wait is always ready. */
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
