/**
 * A session that moves checkpoints to and from files by itself.
 *
 * One thread that reads, checks and writes needs no buffers of others, no
 * messages and no streams: it is as fast as a program in C, but for the calls
 * themselves.
 */

import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { Session } from "./open_session.ts";
import { recycle, takeBuffer } from "../../checkpoint/batches/buffer_pool.ts";
import type { Phase } from "../../checkpoint/batches/transaction.ts";
import { FdReader } from "../../checkpoint/file/fd_reader.ts";
import { FdWriter } from "../../checkpoint/file/fd_writer.ts";
import type { EncodeOptions } from "../../checkpoint/format/checkpoint_encoder.ts";
import type { CheckpointHeader, DecodedHeader } from "../../checkpoint/metadata/header.ts";

/** After so many milliseconds of writing or reading the session looks who else wants something. */
const TURN_MS = 100;

/** A {@linkcode Session} with files. */
export class FileSession extends Session {
  #writer: FdWriter | null = null;
  #reader: FdReader | null = null;

  /** Begins a checkpoint on an fd, to be written on this thread. */
  beginWrite(fd: number, header: CheckpointHeader, options: EncodeOptions): void {
    this.#writer = new FdWriter(libcKernel(), fd, header, options);
  }

  /** Writes the phase under way, for a while or to its end: true there. */
  write(phase: Phase): boolean {
    const buffer = takeBuffer();
    const until = performance.now() + TURN_MS;
    let over = false;
    do {
      const { batch, ended } = this.pull(buffer);
      if (batch.sizes.length > 0) this.#writer!.batch(phase, batch);
      over = ended;
    } while (!over && performance.now() < until && !this.counters.interrupted);
    recycle(buffer.buffer);
    return over;
  }

  /** Ends the checkpoint. */
  endWrite(): void {
    this.#writer!.end();
    this.#writer = null;
  }

  /** Begins with a checkpoint that is on an fd, to be read on this thread. */
  beginRead(fd: number, position: number | null): void {
    this.#reader = new FdReader(libcKernel(), fd, position);
  }

  /** Reads the header; null where it has not come in a while. */
  readHeader(): DecodedHeader | null {
    const reader = this.#reader!;
    while (reader.header === null) if (reader.step() === "nothing") break;
    return reader.header;
  }

  /** Gives the checkpoint to the device, for a while or to its end: true there. */
  read(): boolean {
    const reader = this.#reader!;
    const until = performance.now() + TURN_MS;
    do {
      const step = reader.step();
      if (step === "end") {
        this.#reader = null;
        return true;
      }
      if (step === "nothing") return false;
      if (step === "some") continue;
      this.push(step);
      recycle(step.bytes.buffer);
    } while (performance.now() < until && !this.counters.interrupted);
    return false;
  }
}
