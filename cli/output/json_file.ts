/**
 * The file of `--json=FILE`.
 *
 * @module
 */

import { closeSync, openSync, writeSync } from "node:fs";

/** A file that JSON is written to; it is opened by the first line. */
export class JsonFile {
  readonly #path: string;
  #fd: number | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Writes JSON Lines, or one document. A file that is there already is replaced.
   *
   * @throws {Error} With the system's error as its cause.
   */
  write(text: string): void {
    try {
      this.#fd ??= openSync(this.#path, "w");
      const bytes = new TextEncoder().encode(text);
      for (let at = 0; at < bytes.length;) at += writeSync(this.#fd, bytes, at);
    } catch (error) {
      throw new Error(`Cannot write ${this.#path}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Closes it, if it was opened. */
  [Symbol.dispose](): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }
}
