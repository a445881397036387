/**
 * What a checkpoint's file is to the one who writes it.
 *
 * @module
 */

import type { ReadBack } from "../read_back.ts";

/**
 * A file for a checkpoint, from `createCheckpointFile`: written
 * through {@linkcode CheckpointFile.writable} (or `write`), then kept by
 * {@linkcode CheckpointFile.commit} or given up by {@linkcode CheckpointFile.abort}.
 */
export interface CheckpointFile extends AsyncDisposable {
  /** The file as it was named. */
  readonly path: string;
  /** Whether it is written in place (a device, a fifo, `-`) rather than put in place at the end. */
  readonly direct: boolean;
  /** The fd of a regular file, to write to in place of the stream; undefined for all else. */
  readonly fd: number | undefined;
  /** How to read what was written to a regular file, before the commit; undefined for all else. */
  readonly readBack: ReadBack | undefined;
  /** Bytes taken so far, by the stream. */
  readonly bytes: number;
  /** Takes the bytes. Closing it commits nothing; aborting it aborts. */
  readonly writable: WritableStream<Uint8Array<ArrayBuffer>>;
  /**
   * Takes the next bytes; one call at a time. A failure aborts.
   *
   * @throws {CheckpointFileError} With the errno's name, such as ENOSPC or EPIPE.
   */
  write(chunk: Uint8Array<ArrayBuffer>): Promise<void>;
  /**
   * Keeps what was written: a regular file is synced, gets its name, and its
   * folder is synced. A failure aborts.
   *
   * @throws {CheckpointFileError} EEXIST where a file of that name has come meanwhile.
   */
  commit(): Promise<void>;
  /** Gives up: a temporary file is removed. After a commit, or again, it does nothing. */
  abort(): Promise<void>;
}
