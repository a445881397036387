/**
 * Reads a checkpoint's bytes from an fd, repeatedly if it is seekable.
 */

import { BATCH_BYTES, takeBuffer } from "../batches/buffer_pool.ts";
import { close, readSome } from "./_fd_io.ts";
import type { Opened } from "./_path_target.ts";
import { fileError } from "./file_error.ts";
import type { CheckpointSource, ReadableFd } from "./checkpoint_source.ts";

/**
 * A pipe gives less than a buffer at a time; the rest of a buffer is used while it is at least this
 * large.
 */
const WORTH_READING = BATCH_BYTES / 4;

/** {@linkcode CheckpointSource} over an fd. */
export class OpenSource implements CheckpointSource {
  readonly path: string;
  readonly size: number | null;
  readonly #opened: Opened;
  #open = true;
  #streamed = false;
  /**
   * The read under way: its fd must not be closed meanwhile, since another file might get the
   * number.
   */
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
      throw new TypeError(`Cannot read "${this.path}" again: it is no regular file`);
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
      // A regular file is read one chunk ahead; a read of a pipe may block forever.
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
    // A read of a pipe without an active writer may never end; a read of a file does.
    if (reading === null || this.seekable) await closed;
    else closed.catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
