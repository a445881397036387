/**
 * Anything but a regular file is written in place, and never replaced.
 */

import { O_WRONLY } from "../../kernel/kernel.ts";
import { close, sync } from "./_fd_io.ts";
import type { AbortResult, FileTarget } from "./_file_target.ts";
import { type OpenedTarget, openPathTarget, type PathTarget } from "./_path_target.ts";

/** A device, a fifo, or an fd that another program opened. */
export class DirectTarget implements FileTarget {
  readonly direct = true;
  readonly #opened: OpenedTarget;
  #open = true;

  private constructor(opened: OpenedTarget) {
    this.#opened = opened;
  }

  /** Opens it; a fifo waits for its reader. */
  static async create(place: Exclude<PathTarget, { kind: "file" }>): Promise<DirectTarget> {
    return new DirectTarget(await openPathTarget(place, O_WRONLY));
  }

  /** Where to write. */
  get fd(): number {
    return this.#opened.fd;
  }

  /** Syncs what can be synced. */
  sync(): Promise<void> {
    return sync(this.fd);
  }

  /** Syncs if possible, and closes the fd if this process opened it. */
  async commit(): Promise<void> {
    await this.sync();
    await this.#close();
  }

  /** Closes the fd if this process opened it. What was written cannot be taken back. */
  async abort(): Promise<AbortResult> {
    await this.#close().catch(() => {});
    return { words: "", left: null };
  }

  async #close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    if (this.#opened.owned) await close(this.fd);
  }
}
