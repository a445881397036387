/**
 * The file that a checkpoint is written to.
 *
 * @module
 */

import type { ReadBack } from "../read_back.ts";

/**
 * A file for a checkpoint, from `createCheckpointFile`: written
 * through {@linkcode CheckpointFile.writable} (or `write`), then kept by {@linkcode
 * CheckpointFile.commit} or discarded by {@linkcode CheckpointFile.abort}.
 */
export interface CheckpointFile extends AsyncDisposable {
  /** The file as it was named. */
  readonly path: string;
  /** Whether it is written in place (a device, a fifo, `-`) rather than put in place at the end. */
  readonly direct: boolean;
  /** The fd, to use instead of the stream. */
  readonly fd: number;
  /** Reads back a regular file before the commit; undefined for other targets. */
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
   * @throws {CheckpointFileError} EEXIST if a file of that name has appeared meanwhile.
   */
  commit(): Promise<void>;
  /**
   * Discards the file: removes a temporary file. Does nothing after a commit, or when called again.
   */
  abort(): Promise<void>;
}
