/**
 * The target of a checkpoint's bytes: how it is kept or discarded.
 */

import type { OpenSource } from "./_open_source.ts";

/** What became of a discarded file. */
export interface AbortResult {
  /** As text; empty if there is nothing to say. */
  readonly words: string;
  /** What exists under the file's own name, as text; null if the temporary file is left. */
  readonly left: string | null;
}

/** A target of bytes. */
export interface FileTarget {
  /** Where to write, for node:fs. */
  readonly fd: number;
  /** Whether written bytes are visible at once. */
  readonly direct: boolean;
  /** Opens the written file for reading, if that is possible. */
  readonly reopen?: () => Promise<OpenSource>;
  /** Syncs the written bytes, and changes nothing else. */
  sync(): Promise<void>;
  /** Keeps the written file. */
  commit(): Promise<void>;
  /** Discards the file; returns what became of it. */
  abort(): Promise<AbortResult>;
}
