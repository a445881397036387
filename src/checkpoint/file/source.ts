/**
 * The file that a checkpoint is read from.
 *
 * @module
 */

import * as fs from "node:fs";
import { O_RDONLY } from "../../kernel/kernel.ts";
import { open } from "./_fd_io.ts";
import { OpenSource } from "./_open_source.ts";
import { findPathTarget, openPathTarget } from "./_path_target.ts";
import { fileError } from "./file_error.ts";

/** An fd to read from. */
export interface ReadableFd {
  /** The fd; it must stay open. */
  readonly fd: number;
  /** Where to begin, for pread(2); null to read(2) from where it stands. */
  readonly position: number | null;
}

/** A checkpoint to read, from {@linkcode openCheckpointFile}. */
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

/**
 * Opens a checkpoint for reading: a regular file, a fifo, `/dev/fd/N`, or `-`
 * for stdin.
 *
 * Needs read access; in Deno also `--allow-ffi` for `/dev/fd/N`.
 *
 * @throws {CheckpointFileError} ENOENT, EACCES, EISDIR, …
 *
 * @example
 * ```ts
 * import { openCheckpointFile } from "./source.ts";
 * import { verifyCheckpoint } from "../verify.ts";
 * import assert from "node:assert/strict";
 *
 * await using source = await openCheckpointFile("fixtures/checkpoints/version-1.vfk");
 * assert.ok(source.seekable);
 * const { trailer } = await verifyCheckpoint(source.stream());
 * assert.equal(trailer.complete, true);
 * ```
 */
export async function openCheckpointFile(path: string): Promise<CheckpointSource> {
  try {
    const place = await findPathTarget(path, 0);
    if (place.kind !== "file") {
      return new OpenSource(path, await openPathTarget(place, O_RDONLY), null);
    }
    const fd = await open(place.path, fs.constants.O_RDONLY);
    return new OpenSource(path, { fd, owned: true }, fs.fstatSync(fd).size);
  } catch (error) {
    throw fileError("open", path, error);
  }
}
