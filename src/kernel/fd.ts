/**
 * A file descriptor as an object: owned or borrowed, closed once.
 *
 * @module
 */

import { VfiokitError } from "../base/vfiokit_error.ts";
import { registerErrorClass } from "../base/error_transfer.ts";
import type { Kernel } from "./kernel.ts";

/**
 * An object was used after it had been closed.
 *
 * @example
 * ```ts
 * import { ClosedError, Fd, libcKernel } from "vfiokit/kernel";
 * import assert from "node:assert/strict";
 *
 * const fd = Fd.borrow(libcKernel(), 0, "stdin");
 * fd.close();
 * assert.throws(() => fd.number, ClosedError);
 * ```
 */
export class ClosedError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** The name of the class. */
  override readonly name: string = "ClosedError";
  /** A stable word: it was closed. */
  readonly code: "closed" | "thread-ended" = "closed";
}

const open = new Set<Fd>();

/**
 * An open file of a {@linkcode Kernel}. An owned fd is closed once, by
 * {@linkcode Fd.close} or `using`. A borrowed fd is never closed by this object.
 *
 * @example
 * ```ts
 * import { Fd, libcKernel, O_RDONLY, openFds } from "vfiokit/kernel";
 * import assert from "node:assert/strict";
 *
 * {
 *   const kernel = libcKernel();
 *   using fd = Fd.own(kernel, kernel.open("/dev/zero", O_RDONLY), "zero");
 *   assert.equal(kernel.read(fd.number, new Uint8Array(4)), 4);
 * }
 * assert.deepEqual(openFds(), []);
 * ```
 */
export class Fd implements Disposable {
  /** The kernel that it is open in. */
  readonly kernel: Kernel;
  readonly #number: number;
  /** Whether closing this object closes the fd. */
  readonly owned: boolean;
  /** The file's name in messages: `/dev/vfio/12`, `device 0000:3b:00.1`. */
  readonly label: string;
  #closed = false;

  private constructor(kernel: Kernel, number: number, label: string, owned: boolean) {
    this.kernel = kernel;
    this.#number = number;
    this.label = label;
    this.owned = owned;
    if (owned) open.add(this);
  }

  /** Takes ownership of an fd: this object closes it. */
  static own(kernel: Kernel, number: number, label: string): Fd {
    return new Fd(kernel, number, label, true);
  }

  /** Uses an fd that the caller opened and will close. */
  static borrow(kernel: Kernel, number: number, label: string): Fd {
    return new Fd(kernel, number, label, false);
  }

  /**
   * The fd's number.
   *
   * @throws {ClosedError} After closing, when the number may belong to another file.
   */
  get number(): number {
    if (this.#closed) throw new ClosedError(`Cannot use ${this.label}: it is closed`);
    return this.#number;
  }

  /** Closes an owned fd. Closing again does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.owned) return;
    open.delete(this);
    this.kernel.close(this.#number);
  }

  /** Closes the fd at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** The labels of all owned fds that are still open, for a leak check. */
export function openFds(): readonly string[] {
  return [...open].map((fd) => fd.label);
}
