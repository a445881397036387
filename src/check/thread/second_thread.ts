/**
 * A second thread that calls the device while a check does.
 *
 * @module
 */

import { startWorker, type Thread, threadOf } from "../../base/thread.ts";
import { ThreadError } from "../../base/thread_error.ts";
import type { SharedConnection } from "../../vfio_user/mod.ts";

/** What the second thread can do. */
export const COMMANDS: Readonly<Record<SecondCommand | "none", number>> = {
  /** Waits for the next command. */
  none: 0,
  /** Asks for the state repeatedly until it is stopped. */
  getStates: 1,
  /** Reads an fd to its end, or until a read fails. */
  readAll: 2,
  /** Interrupts the thread whose id is in the place of an fd, until it is stopped. */
  interrupt: 3,
};

/** A command's name. */
export type SecondCommand = "getStates" | "readAll" | "interrupt";

/** The words of the shared memory. */
export const WORD = { command: 0, stop: 1, fd: 2, calls: 3, wrong: 4, errno: 5, bytes: 6, done: 7 };

/** How many words there are. */
export const WORDS = 8;

/** What the second thread begins with. */
export interface StartRequest {
  /** Its commands and results: {@linkcode WORD}. */
  readonly memory: SharedArrayBuffer;
  /** The connection to the device's server; null for a device of the running kernel. */
  readonly connection: SharedConnection | null;
}

/** What the second thread came to. */
export interface SecondThreadResult {
  /** How many calls it made. */
  readonly calls: number;
  /** Of `getStates`: how many answers were no state, or an error. */
  readonly wrong: number;
  /** Of `readAll`: the errno that ended it; 0 at the end of the data. */
  readonly errno: number;
  /** Of `readAll`: the bytes that it read. */
  readonly bytes: number;
}

/** The second thread, as a check uses it. */
export class SecondThread {
  readonly #words: Int32Array;
  readonly #thread: Thread<StartRequest>;

  private constructor(words: Int32Array, thread: Thread<StartRequest>) {
    this.#words = words;
    this.#thread = thread;
  }

  /**
   * Starts it; resolves once it waits for commands.
   *
   * @param connection That of the device under check, if it is a server's; else null.
   */
  static async start(connection: SharedConnection | null): Promise<SecondThread> {
    const memory = new SharedArrayBuffer(4 * WORDS);
    const ready = Promise.withResolvers<void>();
    const thread = threadOf<StartRequest, "ready">(
      startWorker(new URL("./second_worker.ts", import.meta.url)),
      {
        message: () => ready.resolve(),
        ended: (why) => ready.reject(new ThreadError(`The second thread has ended: ${why}`)),
      },
    );
    thread.keepAlive(false);
    thread.post({ memory, connection });
    await ready.promise;
    return new SecondThread(new Int32Array(memory), thread);
  }

  /**
   * Begins a command on an fd, or on a thread; it goes on until it has ended, or
   * {@linkcode SecondThread.end}.
   */
  begin(command: SecondCommand, fd: number): void {
    this.#words.fill(0);
    Atomics.store(this.#words, WORD.fd, fd);
    Atomics.store(this.#words, WORD.command, COMMANDS[command]);
    Atomics.notify(this.#words, WORD.command);
  }

  /** Waits until the command has made its first call, so many milliseconds at most. */
  calling(milliseconds: number): void {
    const until = performance.now() + milliseconds;
    while (Atomics.load(this.#words, WORD.calls) === 0 && performance.now() <= until) {
      Atomics.wait(this.#words, WORD.calls, 0, 1);
    }
  }

  /**
   * Tells the command to stop, and waits for its end.
   *
   * @returns null if it has not ended after so many milliseconds.
   */
  end(milliseconds: number): SecondThreadResult | null {
    Atomics.store(this.#words, WORD.stop, 1);
    if (Atomics.wait(this.#words, WORD.done, 0, milliseconds) === "timed-out") return null;
    const [, , , calls, wrong, errno, bytes] = this.#words;
    return { calls: calls!, wrong: wrong!, errno: errno!, bytes: bytes! };
  }

  /** Ends the thread. */
  close(): void {
    this.#thread.terminate();
  }
}
