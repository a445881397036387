/**
 * Hands the data fd of a lent v2 device from one program to the next: a pair of sockets per device.
 * An fd that is put into one of them lasts as long as this process keeps them open.
 *
 * @module
 */

import type { OpenOptions } from "../../mod.ts";
import { libcKernel } from "../../src/kernel/mod.ts";

/** The pairs of sockets of lent devices. */
export class DataFdSocketPairs implements Disposable {
  readonly #open = new DisposableStack();

  /** Makes another pair. */
  add(): NonNullable<OpenOptions["dataFdSockets"]> {
    const [put, take] = libcKernel().socketPair();
    for (const fd of [put, take]) this.#open.defer(() => libcKernel().close(fd));
    return { put, take };
  }

  /** Closes all of them, and any data fd that was not taken. */
  [Symbol.dispose](): void {
    this.#open.dispose();
  }
}
