/**
 * Reads a checkpoint's bytes from an fd, repeatedly if it is seekable.
 */

import * as fs from "node:fs";
import { FifoReader } from "../../kernel/process/fifo_reader.ts";
import { DirectStream } from "../source/direct_stream.ts";
import { FileChunks } from "../source/file_chunks.ts";
import { PipeChunks } from "../source/pipe_chunks.ts";
import { close, readNow, readSome } from "./_fd_io.ts";
import type { OpenedTarget } from "./_path_target.ts";
import { fileError } from "./file_error.ts";
import type { CheckpointSource, ReadableFd } from "./checkpoint_source.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** {@linkcode CheckpointSource} over an fd. */
export class OpenSource implements CheckpointSource {
  readonly path: string;
  readonly size: number | null;
  readonly #opened: OpenedTarget;
  #open = true;
  #streamed = false;
  #fifo: FifoReader | null = null;
  /**
   * The reads under way: their fd must not be closed meanwhile, since another file might get the
   * number.
   */
  readonly #reads = new Set<Promise<unknown>>();

  constructor(path: string, opened: OpenedTarget, size: number | null) {
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
    return new DirectStream(this.size === null ? this.#pipe() : this.#file(this.size));
  }

  #pipe(): PipeChunks {
    const { fd } = this.#opened;
    const fifo = this.#fifo = fs.fstatSync(fd).isFIFO() ? FifoReader.open(fd) : null;
    return new PipeChunks({
      now: (into) => fifo === null ? null : this.#named(() => fifo.read(into)),
      later: (into) => this.#read(into, null),
    });
  }

  #file(size: number): FileChunks {
    return new FileChunks({
      now: (into, position) => this.#named(() => readNow(this.#opened.fd, into, position)),
      later: (into, position) => this.#read(into, position),
    }, size);
  }

  /** Has a failure name the file. */
  #named<Value>(read: () => Value): Value {
    try {
      return read();
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
    this.#fifo?.[Symbol.dispose]();
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
