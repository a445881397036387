/**
 * What a checkpoint is read from, on a thread that may block.
 */

import { isErrno } from "../../kernel/sys_error.ts";
import { type Kernel, POLLIN } from "../../kernel/kernel.ts";
import { setPipeSize } from "../../kernel/process/pipe_size.ts";
import { type FdKind, WAIT_MS } from "./fd_kind.ts";

/** Reads from an fd. */
export interface FdInput {
  /**
   * Reads some bytes; 0 at the end, null if `unwanted` became true before any came.
   *
   * @throws {SysError} If the fd cannot be read.
   */
  read(into: Uint8Array, unwanted: () => boolean): number | null;
}

/** A regular file, from its beginning on: always ready. */
class FileInput implements FdInput {
  readonly #kernel: Kernel;
  readonly #fd: number;
  #position = 0;

  constructor(kernel: Kernel, fd: number) {
    this.#kernel = kernel;
    this.#fd = fd;
  }

  read(into: Uint8Array, unwanted: () => boolean): number | null {
    if (unwanted()) return null;
    const count = this.#kernel.pread(this.#fd, into, this.#position);
    this.#position += count;
    return count;
  }
}

/** What a pipe should hold, in bytes. Where it stays smaller, its ends wake each other more often. */
const PIPE_BYTES = 1 << 20;

/** What may have nothing to give, for ever: a fifo, a socket, a terminal. */
class WaitingInput implements FdInput {
  readonly #kernel: Kernel;
  readonly #fd: number;

  constructor(kernel: Kernel, fd: number) {
    this.#kernel = kernel;
    this.#fd = fd;
    // Of no effect on anything but a pipe.
    setPipeSize(fd, PIPE_BYTES);
  }

  read(into: Uint8Array, unwanted: () => boolean): number | null {
    while (!unwanted()) {
      if (this.#kernel.poll(this.#fd, POLLIN, WAIT_MS) === 0) continue;
      try {
        return this.#kernel.read(this.#fd, into);
      } catch (error) {
        // Somebody else who has the pipe open was quicker.
        if (!isErrno(error, "EAGAIN")) throw error;
      }
    }
    return null;
  }
}

/** Reads an fd: a regular file from its beginning, anything else from where it stands. */
export function openInput(kernel: Kernel, fd: number, kind: FdKind): FdInput {
  return kind === "file" ? new FileInput(kernel, fd) : new WaitingInput(kernel, fd);
}
