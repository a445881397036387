/**
 * The file that a checkpoint is read from.
 *
 * @module
 */

import * as fs from "node:fs";
import { BATCH_BYTES, takeBuffer } from "../migration/pool.ts";
import { O_RDONLY } from "../kernel/kernel.ts";
import { close, open, readSome } from "./_fd_io.ts";
import { findPlace, type Opened, openPlace } from "./_place.ts";
import { fileError } from "./file_error.ts";

/** A pipe gives less than a buffer at a time; what is left of one is used while there is this much. */
const WORTH_READING = BATCH_BYTES / 4;

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

/** {@linkcode CheckpointSource} over an fd. */
class OpenSource implements CheckpointSource {
  readonly path: string;
  readonly size: number | null;
  readonly #opened: Opened;
  #open = true;
  #streamed = false;
  /** The read under way: its fd must not be closed, another file might get the number. */
  #reading: Promise<unknown> | null = null;

  constructor(path: string, opened: Opened, size: number | null) {
    this.path = path;
    this.#opened = opened;
    this.size = size;
  }

  get seekable(): boolean {
    return this.size !== null;
  }

  get file(): ReadableFd {
    return { fd: this.#opened.fd, position: this.seekable ? 0 : null };
  }

  stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    if (this.#streamed && !this.seekable) {
      throw new Error(`Cannot read "${this.path}" again: it is no regular file`);
    }
    this.#streamed = true;
    let position = this.seekable ? 0 : null;
    let buffer: Uint8Array<ArrayBuffer> | null = null;
    return new ReadableStream({
      pull: async (controller): Promise<void> => {
        buffer ??= takeBuffer();
        const count = await this.#read(buffer, position);
        if (count === 0) return controller.close();
        if (position !== null) position += count;
        controller.enqueue(buffer.subarray(0, count));
        buffer = buffer.byteLength - count < WORTH_READING ? null : buffer.subarray(count);
      },
      // A regular file is read one chunk ahead; a read of a pipe may block for good.
    }, { highWaterMark: this.seekable ? 1 : 0 });
  }

  async #read(into: Uint8Array<ArrayBuffer>, position: number | null): Promise<number> {
    try {
      const reading = readSome(this.#opened.fd, into, position);
      this.#reading = reading;
      return await reading;
    } catch (error) {
      throw fileError("read", this.path, error);
    } finally {
      this.#reading = null;
    }
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    if (!this.#opened.owned) return;
    const reading = this.#reading;
    const closed = (reading ?? Promise.resolve()).catch(() => {}).then(() =>
      close(this.#opened.fd)
    );
    // The read of a pipe that nobody writes to may never end; a file's does.
    if (reading === null || this.seekable) await closed;
    else closed.catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
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
 * import { verifyCheckpoint } from "./verify.ts";
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
    const place = await findPlace(path, 0);
    if (place.kind !== "file") {
      return new OpenSource(path, await openPlace(place, O_RDONLY), null);
    }
    const fd = await open(place.path, fs.constants.O_RDONLY);
    return new OpenSource(path, { fd, owned: true }, fs.fstatSync(fd).size);
  } catch (error) {
    throw fileError("open", path, error);
  }
}
