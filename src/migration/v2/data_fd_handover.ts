/**
 * Where a v2 device's data fd waits between two programs: in a message that
 * was sent into one of two sockets and not taken out of the other.
 */

import { isErrno } from "../../kernel/sys_error.ts";
import { Fd } from "../../kernel/fd.ts";
import type { Kernel } from "../../kernel/kernel.ts";

/** The two sockets that a data fd is handed over by, both borrowed. */
export interface DataPlaceFds {
  /** The one that it is put into. */
  readonly put: number;
  /** The one that it is taken from. */
  readonly take: number;
}

/** What a message says, so that nothing else is taken for one. */
const MESSAGE = new TextEncoder().encode("vfiokit data fd 1") as Uint8Array<ArrayBuffer>;

/** More messages than this are nobody's who means well: the rest stays there. */
const MAX_MESSAGES = 1024;

/** A place for one data fd. */
export class DataFdHandover {
  readonly #kernel: Kernel;
  readonly #fds: DataPlaceFds;

  constructor(kernel: Kernel, fds: DataPlaceFds) {
    this.#kernel = kernel;
    this.#fds = fds;
  }

  /**
   * Puts an fd there, for whoever comes; it stays the caller's, too. What was left there before is
   * closed: of a device's data fds the last one alone is of use.
   *
   * @throws {SysError} If the fds are no such sockets.
   */
  put(fd: Fd): void {
    this.take("a data fd that nobody took")?.close();
    this.#kernel.sendFds(this.#fds.put, MESSAGE, [fd.number]);
  }

  /**
   * Takes the fd that was put there last, and calls it `label`; never waits.
   *
   * @returns null where there is none.
   * @throws {SysError} If the fds are no such sockets.
   */
  take(label: string): Fd | null {
    let last: Fd | null = null;
    for (let count = 0; count < MAX_MESSAGES; count++) {
      const taken = this.#receive();
      if (taken === "none") break;
      if (taken === "rubbish") continue;
      last?.close();
      last = Fd.own(this.#kernel, taken, label);
    }
    return last;
  }

  /** The fd in the next message; whatever comes with another one is closed. */
  #receive(): number | "none" | "rubbish" {
    const bytes = new Uint8Array(new ArrayBuffer(MESSAGE.length));
    try {
      const { length, fds, truncated } = this.#kernel.receiveFds(this.#fds.take, bytes, 1);
      // Nothing in it: the other end is closed.
      if (length === 0) return "none";
      const [fd] = fds;
      if (fd === undefined) return "rubbish";
      if (!truncated && bytes.every((byte, at) => byte === MESSAGE[at])) return fd;
      this.#kernel.close(fd);
      return "rubbish";
    } catch (error) {
      if (isErrno(error, "EAGAIN")) return "none";
      throw error;
    }
  }
}
