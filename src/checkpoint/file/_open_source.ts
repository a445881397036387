/**
 * Reads a checkpoint's bytes from an fd, repeatedly if it is seekable.
 */

import { BATCH_BYTES, takeBuffer } from "../batches/buffer_pool.ts";
import { close, readNow, readSome } from "./_fd_io.ts";
import { FileChunks } from "./_file_chunks.ts";
import type { Opened } from "./_path_target.ts";
import { fileError } from "./file_error.ts";
import type { CheckpointSource, ReadableFd } from "./checkpoint_source.ts";

type Bytes = Uint8Array<ArrayBuffer>;

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
   * The reads under way: their fd must not be closed meanwhile, since another file might get the
   * number.
   */
  readonly #reads = new Set<Promise<unknown>>();

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

  stream(): ReadableStream<Bytes> {
    if (this.#streamed && !this.seekable) {
      throw new TypeError(`Cannot read "${this.path}" again: it is no regular file`);
    }
    this.#streamed = true;
    // A regular file is read ahead; a read of a pipe may block forever.
    return this.size === null
      ? new ReadableStream(this.#pipe(), { highWaterMark: 0 })
      : new ReadableStream(this.#file(this.size), { highWaterMark: 0 });
  }

  #pipe(): UnderlyingDefaultSource<Bytes> {
    let buffer: Bytes | null = null;
    return {
      pull: async (controller): Promise<void> => {
        buffer ??= takeBuffer();
        const count = await this.#read(buffer, null);
        if (count === 0) return controller.close();
        controller.enqueue(buffer.subarray(0, count));
        buffer = buffer.byteLength - count < WORTH_READING ? null : buffer.subarray(count);
      },
    };
  }

  #file(size: number): UnderlyingDefaultSource<Bytes> {
    const chunks = new FileChunks({
      now: (into, position) => this.#readNow(into, position),
      later: (into, position) => this.#read(into, position),
    }, size);
    return {
      pull: async (controller): Promise<void> => {
        const chunk = await chunks.next();
        if (chunk === null) controller.close();
        else controller.enqueue(chunk);
      },
      cancel: () => chunks.settle(),
    };
  }

  #readNow(into: Bytes, position: number): number {
    try {
      return readNow(this.#opened.fd, into, position);
    } catch (error) {
      throw fileError("read", this.path, error);
    }
  }

  async #read(into: Bytes, position: number | null): Promise<number> {
    const reading = readSome(this.#opened.fd, into, position);
    this.#reads.add(reading);
    try {
      return await reading;
    } catch (error) {
      throw fileError("read", this.path, error);
    } finally {
      this.#reads.delete(reading);
    }
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    if (!this.#opened.owned) return;
    const idle = this.#reads.size === 0;
    const closed = Promise.allSettled(this.#reads).then(() => close(this.#opened.fd));
    // A read of a pipe without an active writer may never end; a read of a file does.
    if (idle || this.seekable) await closed;
    else closed.catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
