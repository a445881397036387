/**
 * What a checkpoint is written to, on a thread that may block.
 */

import { isErrno, SysError } from "../../kernel/sys_error.ts";
import { type Kernel, O_NONBLOCK, O_WRONLY, POLLOUT } from "../../kernel/kernel.ts";
import { setPipeSize } from "../../kernel/process/pipe_size.ts";
import { startWriteBack } from "../../kernel/process/write_back.ts";
import { type FdKind, WAIT_MS } from "./fd_kind.ts";

/** Bytes that are worth a place in the disk's queue. */
const WRITE_BACK = 8 << 20;

/** Writes to an fd. */
export interface FdOutput extends Disposable {
  /**
   * Writes all bytes; false if `unwanted` became true before the end.
   *
   * @throws {SysError} If the fd takes no more.
   */
  write(bytes: Uint8Array, unwanted: () => boolean): boolean;
}

/**
 * A regular file that was empty: always ready. The disk begins with what is
 * there while more comes, so that the sync at the end, for which the device
 * stands still, has little left to wait for.
 */
class FileOutput implements FdOutput {
  readonly #kernel: Kernel;
  readonly #fd: number;
  #written = 0;
  /** Up to where the disk was told to begin. */
  #begun = 0;

  constructor(kernel: Kernel, fd: number) {
    this.#kernel = kernel;
    this.#fd = fd;
  }

  write(bytes: Uint8Array, unwanted: () => boolean): boolean {
    for (let done = 0; done < bytes.length;) {
      if (unwanted()) return false;
      done += this.#kernel.write(this.#fd, done === 0 ? bytes : bytes.subarray(done));
    }
    this.#written += bytes.length;
    const length = this.#written - this.#begun;
    if (length >= WRITE_BACK) {
      // Where that can't be had, the sync at the end writes all of it.
      startWriteBack(this.#fd, this.#begun, length);
      this.#begun = this.#written;
    }
    return true;
  }

  [Symbol.dispose](): void {}
}

/** What a fifo should hold, in bytes: a frame. Larger ones are for the privileged. */
const FIFO_BYTES = 1 << 20;

/** Most bytes that are written at once where a write blocks until all of them are taken. */
const BLOCKING_WRITE = 64 << 10;

/** What a fifo with any room takes at once: PIPE_BUF. */
const FIFO_WRITE = 4096;

/** What may be full, for ever: a fifo, a socket, a terminal. */
class WaitingOutput implements FdOutput {
  readonly #kernel: Kernel;
  readonly #fd: number;
  /** Our own open file of a fifo, whose writes do not block; null if they may. */
  readonly #own: number | null;
  readonly #most: number;

  constructor(kernel: Kernel, fd: number, kind: FdKind) {
    this.#kernel = kernel;
    // Where it stays small, its ends only wake each other more often.
    if (kind === "fifo") setPipeSize(fd, FIFO_BYTES);
    this.#own = kind === "fifo" ? reopenFifo(kernel, fd) : null;
    this.#fd = this.#own ?? fd;
    this.#most = this.#own !== null ? Infinity : kind === "fifo" ? FIFO_WRITE : BLOCKING_WRITE;
  }

  write(bytes: Uint8Array, unwanted: () => boolean): boolean {
    for (let done = 0; done < bytes.length;) {
      if (unwanted()) return false;
      // Asked first: an EAGAIN that is thrown costs more than the call.
      if (this.#kernel.poll(this.#fd, POLLOUT, WAIT_MS) === 0) continue;
      try {
        done += this.#kernel.write(this.#fd, bytes.subarray(done, done + this.#most));
      } catch (error) {
        // Somebody else who has the pipe open was quicker.
        if (!isErrno(error, "EAGAIN")) throw error;
      }
    }
    return true;
  }

  [Symbol.dispose](): void {
    if (this.#own !== null) this.#kernel.close(this.#own);
  }
}

/**
 * Opens the fifo of an fd once more, so that writing to it does not block.
 * O_NONBLOCK is not set on the fd itself: another process may have the same
 * open file.
 *
 * @returns A new fd; null if that cannot be had, as without /proc, or where the fifo is somebody
 * else's.
 */
function reopenFifo(kernel: Kernel, fd: number): number | null {
  try {
    return kernel.open(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return null;
  }
}

/** Writes to an fd; one that is a regular file must be empty, and stand at its beginning. */
export function openOutput(kernel: Kernel, fd: number, kind: FdKind): FdOutput {
  return kind === "file" ? new FileOutput(kernel, fd) : new WaitingOutput(kernel, fd, kind);
}
