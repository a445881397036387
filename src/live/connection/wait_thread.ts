/**
 * Waits for sockets in place of a thread that must not block. Neither runtime can wait for an fd that
 * it did not open itself.
 */

import { startWorker, type Thread, threadOf } from "../../base/thread.ts";
import { ThreadError } from "../../base/thread_error.ts";
import { UnixSocket } from "../../kernel/libc/unix_socket.ts";

/** What the thread is asked for; a byte is sent to it first, which ends its wait. */
export type WaitRequest =
  /** The fd where these bytes come. */
  | { readonly wake: number }
  /** Waits for events of a socket: `POLLIN`, `POLLOUT`. */
  | { readonly id: number; readonly fd: number; readonly events: number }
  /** Waits for it no longer. */
  | { readonly cancel: number }
  /** Closes the fd, and waits for nothing more. */
  | "end";

/** What it answers: the waits that are over, or that it has ended. */
export type WaitAnswer = readonly number[] | "ended";

const BYTE = new Uint8Array(1);

/** The thread that waits for all sockets of this process; it ends with its last user. */
export class WaitThread implements Disposable {
  static #shared: WaitThread | null = null;
  #users = 0;
  readonly #wake: UnixSocket;
  readonly #thread: Thread<WaitRequest>;
  readonly #waiting = new Map<number, PromiseWithResolvers<void>>();
  #last = 0;

  private constructor() {
    const [wake, woken] = UnixSocket.pair();
    this.#wake = wake;
    const worker = startWorker(new URL("./wait_worker.ts", import.meta.url));
    this.#thread = threadOf<WaitRequest, WaitAnswer>(worker, {
      message: (answer) => answer === "ended" ? this.#end() : this.#over(answer),
      ended: (why) => this.#fail(`The thread that waits for sockets has ended: ${why}`),
    });
    // It closes its end itself, once it does not wait there any more.
    this.#post({ wake: woken.fd });
    this.#thread.keepAlive(false);
  }

  /** The one of this process, which whoever uses it disposes. */
  static use(): WaitThread {
    const shared = this.#shared ??= new WaitThread();
    shared.#users += 1;
    return shared;
  }

  /**
   * Waits until a socket can be read from (`POLLIN`) or written to (`POLLOUT`), or has failed.
   *
   * @param cancelled Ends the wait, which then resolves, too.
   */
  async wait(fd: number, events: number, cancelled: AbortSignal): Promise<void> {
    if (cancelled.aborted) return;
    const id = this.#last += 1;
    const waiting = Promise.withResolvers<void>();
    this.#waiting.set(id, waiting);
    if (this.#waiting.size === 1) this.#thread.keepAlive(true);
    this.#post({ id, fd, events });
    const cancel = (): void => {
      this.#post({ cancel: id });
      this.#over([id]);
    };
    cancelled.addEventListener("abort", cancel);
    try {
      await waiting.promise;
    } finally {
      cancelled.removeEventListener("abort", cancel);
    }
  }

  #post(request: WaitRequest): void {
    this.#wake.send(BYTE);
    this.#thread.post(request);
  }

  #over(ids: readonly number[]): void {
    for (const id of ids) {
      this.#waiting.get(id)?.resolve();
      this.#waiting.delete(id);
    }
    if (this.#waiting.size === 0) this.#thread.keepAlive(false);
  }

  #fail(why: string): void {
    for (const { reject } of this.#waiting.values()) reject(new ThreadError(why));
    this.#waiting.clear();
  }

  /** Ends the thread, if nobody else uses it. */
  [Symbol.dispose](): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    WaitThread.#shared = null;
    this.#fail("The thread that waits for sockets was ended");
    this.#thread.keepAlive(true);
    this.#post("end");
  }

  #end(): void {
    this.#thread.terminate();
    this.#wake.close();
  }
}
