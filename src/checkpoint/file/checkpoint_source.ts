/**
 * The file that a checkpoint is read from.
 *
 * @module
 */

/** An fd to read from. */
export interface ReadableFd {
  /** The fd; it must stay open. */
  readonly fd: number;
  /** Offset of the first pread(2); null to read(2) from the fd's position. */
  readonly position: number | null;
}

/** A checkpoint to read, from `openCheckpointFile`. */
export interface CheckpointSource extends AsyncDisposable {
  /** The file as it was named. */
  readonly path: string;
  /** Its size in bytes if it is a regular file, else null. */
  readonly size: number | null;
  /** Whether it can be read more than once: verified as a whole, and then used. */
  readonly seekable: boolean;
  /**
   * The bytes from the start, in chunks of up to a MiB in buffers of the pool. A file that is not
   * seekable gives one stream, and is read only when a chunk is requested.
   *
   * @throws {CheckpointFileError} Through the stream, if the file cannot be read.
   */
  stream(): ReadableStream<Uint8Array<ArrayBuffer>>;
  /** The fd, to use instead of a stream. */
  readonly file: ReadableFd;
  /** Closes the fd if this process opened it. Closing again does nothing. */
  close(): Promise<void>;
}
