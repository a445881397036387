/**
 * Reads what a fifo holds, without waiting for more.
 */

import { libcAllowed, libcKernel } from "../libc/libc_kernel.ts";
import { type Kernel, O_NONBLOCK, O_RDONLY, POLLIN } from "../kernel.ts";
import { setPipeSize } from "./pipe_size.ts";
import { isErrno, SysError } from "../sys_error.ts";

/** What a fifo should hold, in bytes. Where it stays smaller, its ends wake each other more often. */
const FIFO_BYTES = 1 << 20;

/** An open file of our own of a fifo: O_NONBLOCK on another program's would change its reads. */
export class FifoReader implements Disposable {
  readonly #kernel: Kernel;
  #fd: number | null;

  private constructor(kernel: Kernel, fd: number) {
    this.#kernel = kernel;
    this.#fd = fd;
  }

  /** Opens the fifo of an fd once more; null if that cannot be had. */
  static open(fd: number): FifoReader | null {
    if (!libcAllowed()) return null;
    const kernel = libcKernel();
    try {
      const own = kernel.open(`/proc/self/fd/${fd}`, O_RDONLY | O_NONBLOCK);
      setPipeSize(own, FIFO_BYTES);
      return new FifoReader(kernel, own);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      return null;
    }
  }

  /**
   * Reads what is there; 0 at the end, null for nothing.
   *
   * @throws {SysError} If it cannot be read.
   */
  read(into: Uint8Array): number | null {
    // Asked first: an EAGAIN that is thrown costs more than the call.
    if (this.#fd === null || this.#kernel.poll(this.#fd, POLLIN, 0) === 0) return null;
    try {
      return this.#kernel.read(this.#fd, into);
    } catch (error) {
      // Another reader was quicker.
      if (isErrno(error, "EAGAIN")) return null;
      throw error;
    }
  }

  /** Closes it. Doing so again does nothing. */
  [Symbol.dispose](): void {
    if (this.#fd !== null) this.#kernel.close(this.#fd);
    this.#fd = null;
  }
}
