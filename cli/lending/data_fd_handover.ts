/**
 * Places in which the data fd of a lent v2 device goes from one program to the
 * next: a pair of sockets a device, and what is put into one of them lasts as
 * long as they are open here.
 *
 * @module
 */

import type { OpenOptions } from "../../mod.ts";
import { libcKernel } from "../../src/kernel/mod.ts";

/** The places of devices that are lent. */
export class DataPlaces implements Disposable {
  readonly #open = new DisposableStack();

  /** Makes one more. */
  add(): NonNullable<OpenOptions["dataPlace"]> {
    const [put, take] = libcKernel().socketPair();
    for (const fd of [put, take]) this.#open.defer(() => libcKernel().close(fd));
    return { put, take };
  }

  /** Closes all of them: a data fd that nobody took is closed, too. */
  [Symbol.dispose](): void {
    this.#open.dispose();
  }
}
