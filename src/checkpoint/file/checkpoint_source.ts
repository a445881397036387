/**
 * What a checkpoint's file is to the one who reads it.
 *
 * @module
 */

/** An fd to read from. */
export interface ReadableFd {
  /** The fd; it must stay open. */
  readonly fd: number;
  /** Where to begin, for pread(2); null to read(2) from where it stands. */
  readonly position: number | null;
}

/** A checkpoint to read, from `openCheckpointFile`. */
export interface CheckpointSource extends AsyncDisposable {
  /** The file as it was named. */
  readonly path: string;
  /** Its size in bytes where it is a regular file; else null. */
  readonly size: number | null;
  /** Whether it can be read more than once: verified whole, and then used. */
  readonly seekable: boolean;
  /**
   * The bytes from the start, in chunks of up to a MiB that lie in buffers of
   * the pool. What is not seekable gives one stream, and the file is read only
   * when a chunk is asked for.
   *
   * @throws {CheckpointFileError} Through the stream, if the file cannot be read.
   */
  stream(): ReadableStream<Uint8Array<ArrayBuffer>>;
  /** The fd, to read in place of a stream. */
  readonly file: ReadableFd;
  /** Closes what is ours. Closing again does nothing. */
  close(): Promise<void>;
}
