/**
 * Where a checkpoint's bytes go, and how that ends.
 */

import type { OpenSource } from "./_open_source.ts";

/** What became of a file that was given up. */
export interface AbortResult {
  /** In words; empty where there is nothing to say. */
  readonly words: string;
  /** What is there under the file's own name, in words; null where the temporary file is left. */
  readonly left: string | null;
}

/** Where the bytes go, and how that ends. */
export interface FileTarget {
  /** Where to write, for node:fs. */
  readonly fd: number;
  /** Whether what was written is there at once, for better or worse. */
  readonly direct: boolean;
  /** Opens what was written, to be read; where that can be had. */
  readonly reopen?: () => Promise<OpenSource>;
  /** Syncs what was written, and leaves it as it is. */
  sync(): Promise<void>;
  /** Keeps what was written. */
  commit(): Promise<void>;
  /** Gives up; returns what became of the file. */
  abort(): Promise<AbortResult>;
}
