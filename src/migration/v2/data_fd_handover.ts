/**
 * Hands a v2 device's data fd from one program to the next: it waits in a message that was sent
 * into one of two sockets and not yet received from the other.
 */

import { isErrno } from "../../kernel/sys_error.ts";
import { Fd } from "../../kernel/fd.ts";
import type { Kernel } from "../../kernel/kernel.ts";

/** The two sockets for a data fd, both borrowed. */
export interface DataFdSockets {
  /** The socket that it is sent into. */
  readonly put: number;
  /** The socket that it is received from. */
  readonly take: number;
}

/** The content of a message, so that no other message is taken for one. */
const MESSAGE = new TextEncoder().encode("vfiokit data fd 1") as Uint8Array<ArrayBuffer>;

/** Maximum number of messages to read; more come from no honest lender, and stay there. */
const MAX_MESSAGES = 1024;

/** The handover of one data fd. */
export class DataFdHandover {
  readonly #kernel: Kernel;
  readonly #fds: DataFdSockets;

  constructor(kernel: Kernel, fds: DataFdSockets) {
    this.#kernel = kernel;
    this.#fds = fds;
  }

  /**
   * Sends an fd for the next program; the caller keeps it, too. Fds that were sent earlier are
   * closed: only the last data fd of a device is of use.
   *
   * @throws {SysError} If the fds are not such sockets.
   */
  put(fd: Fd): void {
    this.take("a data fd that nobody took")?.close();
    this.#kernel.sendFds(this.#fds.put, MESSAGE, [fd.number]);
  }

  /**
   * Receives the fd that was sent last, and labels it `label`; never waits.
   *
   * @returns The fd; null if there is none.
   * @throws {SysError} If the fds are not such sockets.
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

  /** Receives the fd in the next message; the fds of any other message are closed. */
  #receive(): number | "none" | "rubbish" {
    const bytes = new Uint8Array(new ArrayBuffer(MESSAGE.length));
    try {
      const { length, fds, truncated } = this.#kernel.receiveFds(this.#fds.take, bytes, 1);
      // It is empty: the other end is closed.
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
