/**
 * What is written to a stdout whose reader may stall: the rest waits in order, and the event loop
 * goes on, so that a signal is heard.
 *
 * @module
 */

import { fstatSync } from "node:fs";
import { STDERR, STDOUT, writeBytes, writeBytesPatiently } from "./stdio.ts";

/** Where something goes. */
type Target = typeof STDOUT | typeof STDERR;

/** Something that is to be written. */
export interface Part {
  readonly fd: Target;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Whether a write to stdout waits for a reader: it does if it is a pipe or a socket. */
export function hasReader(): boolean {
  try {
    const stat = fstatSync(STDOUT);
    return stat.isFIFO() || stat.isSocket();
  } catch {
    // It is closed: the write says so.
    return false;
  }
}

/** Parts for stdout, and for stderr between them. */
export class StdoutQueue {
  #parts: Part[] = [];
  #writing: Promise<void> | null = null;

  /** Whether all is written. */
  get empty(): boolean {
    return this.#parts.length === 0;
  }

  /** Adds a part, and begins to write. */
  add(part: Part): void {
    this.#parts.push(part);
    this.#writing ??= this.#write();
    // A failure is reported by `written`.
    this.#writing.catch(() => {});
  }

  async #write(): Promise<void> {
    for (let part = this.#parts[0]; part !== undefined; part = this.#parts[0]) {
      if (part.fd === STDERR) writeBytes(STDERR, part.bytes);
      else await writeBytesPatiently(part.bytes);
      // It is empty if nobody waits for it any more.
      if (this.#parts[0] === part) this.#parts.shift();
    }
    this.#writing = null;
  }

  /**
   * Resolves when all is written.
   *
   * @throws {StdoutError} If stdout does not take it; what is left is in {@linkcode StdoutQueue.take}.
   */
  async written(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
  }

  /** Gives up: returns what is not written, and forgets it. A write under way goes on. */
  take(): readonly Part[] {
    const left = this.#parts;
    this.#parts = [];
    return left;
  }
}
