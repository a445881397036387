/**
 * Waits for sockets in place of a thread that must not block. Neither runtime can wait for an fd that
 * it did not open itself.
 */

import { cleanedUp } from "../../base/cleanup.ts";
import { startWorker, type Thread, threadOf } from "../../base/thread.ts";
import { ThreadError } from "../../base/thread_error.ts";
import { UnixSocket } from "../../kernel/libc/unix_socket.ts";

/**
 * What the thread is asked for. Each request is counted first, and then a byte is sent, which ends the
 * thread's wait: one that finds the socket full is not needed.
 */
export type WaitRequest =
  /** The fd where these bytes come, and how many requests there are. */
  | { readonly wake: number; readonly posted: Int32Array<SharedArrayBuffer> }
  /** Waits for events of a socket: `POLLIN`, `POLLOUT`. */
  | { readonly id: number; readonly fd: number; readonly events: number }
  /** Waits for it no longer. */
  | { readonly cancel: number }
  /** Waits for nothing more, and does not use the fd any more. */
  | "end";

/** What it answers: the waits that are over, or that it has ended. */
export type WaitAnswer = readonly number[] | "ended";

const BYTE = new Uint8Array(1);

/** The thread that waits for all sockets of this process; it ends with its last user. */
export class WaitThread implements Disposable {
  static #shared: WaitThread | null = null;
  #users = 0;
  /** What is sent to this one wakes the thread, which receives from the other. */
  readonly #ends: readonly [UnixSocket, UnixSocket];
  readonly #thread: Thread<WaitRequest>;
  readonly #posted = new Int32Array(new SharedArrayBuffer(4));
  readonly #waiting = new Map<number, PromiseWithResolvers<void>>();
  #last = 0;
  /** Why it waits no more. */
  #failure: Error | null = null;

  private constructor() {
    const [wake, woken] = UnixSocket.pair();
    this.#ends = [wake, woken];
    try {
      const worker = startWorker(new URL("./wait_worker.ts", import.meta.url));
      this.#thread = threadOf<WaitRequest, WaitAnswer>(worker, {
        message: (answer) => answer === "ended" ? this.#close("was ended") : this.#over(answer),
        ended: (why) => this.#close(`has ended: ${why}`),
      });
    } catch (error) {
      throw cleanedUp(error, () => this.#closeEnds());
    }
    this.#post({ wake: woken.fd, posted: this.#posted });
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
    if (this.#failure !== null) throw this.#failure;
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
    if (this.#failure !== null) return;
    Atomics.add(this.#posted, 0, 1);
    this.#ends[0].send(BYTE);
    this.#thread.post(request);
  }

  #over(ids: readonly number[]): void {
    for (const id of ids) {
      this.#waiting.get(id)?.resolve();
      this.#waiting.delete(id);
    }
    if (this.#waiting.size === 0) this.#thread.keepAlive(false);
  }

  /** Ends the thread, if nobody else uses it. */
  [Symbol.dispose](): void {
    this.#users -= 1;
    if (this.#users > 0 || this.#failure !== null) return;
    if (WaitThread.#shared === this) WaitThread.#shared = null;
    this.#thread.keepAlive(true);
    this.#post("end");
  }

  /** The thread waits for nothing any more; whoever comes next gets another one. */
  #close(what: string): void {
    if (this.#failure !== null) return;
    this.#failure = new ThreadError(`The thread that waits for sockets ${what}`);
    if (WaitThread.#shared === this) WaitThread.#shared = null;
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
    this.#thread.terminate();
    this.#closeEnds();
  }

  #closeEnds(): void {
    for (const end of this.#ends) end.close();
  }
}
