/**
 * The caller's end of a restore's pipeline: a reader checks the checkpoint and
 * puts each device's frames into its ring, and the device's thread takes them
 * from there. Nothing of them passes here, but for a source that has a stream
 * only.
 */

import { fileError } from "../checkpoint/file/file_error.ts";
import type { DecodedHeader } from "../checkpoint/metadata/header.ts";
import type { CheckpointTrailer } from "../checkpoint/metadata/trailer.ts";
import {
  type IoThread,
  startReading,
  startReadingStream,
} from "../checkpoint/pipeline/io_thread.ts";
import { FrameConsumer } from "../checkpoint/pipeline/frame_consumer.ts";
import type { RingMemory } from "../checkpoint/pipeline/ring.ts";
import { cancelRings, releaseRings, restoringRings } from "../checkpoint/pipeline/rings.ts";
import { Recycler } from "../checkpoint/batches/recycler.ts";
import { SysError } from "../kernel/sys_error.ts";
import { ask, hasThread } from "../migration/thread/session_client.ts";
import { TURN_MS } from "../migration/thread/frame_turns.ts";
import { canUseIoThread, eventLoopTurn, kindOf } from "./_threads.ts";
import type { Lockstep, Member } from "./lockstep.ts";
import { type Chunks, chunksOf, demandBytes } from "../base/chunks.ts";
import type { RestoreSource } from "./sinks_and_sources.ts";

/** Reads the checkpoint of a lockstep of devices. */
export class CheckpointInput {
  readonly #lockstep: Lockstep;
  readonly #rings: readonly RingMemory[];
  /** The stream's chunks, if there is no thread for it. */
  readonly #chunks: Chunks | null;
  readonly #io: IoThread<DecodedHeader, CheckpointTrailer>;
  /** What the reader came to; null if a device took no more. */
  readonly #read: Promise<CheckpointTrailer | null>;

  /** Begins to read: no further ahead of the devices than the rings have slots. */
  constructor(lockstep: Lockstep, source: RestoreSource, recycle: boolean) {
    const devices = lockstep.members.map(({ device }) => device);
    this.#lockstep = lockstep;
    this.#rings = restoringRings(devices.length);
    const { file } = source;
    if (file !== undefined && canUseIoThread(devices)) {
      const { fd, position } = file;
      this.#chunks = null;
      // What is not read from its beginning is read on from where it stands.
      const kind = position === null ? "other" : kindOf(fd, "read", source.path);
      this.#io = startReading({ fd, kind, rings: this.#rings });
    } else {
      this.#chunks = chunksOf(source);
      this.#io = startReadingStream(checkedChunks(this.#chunks, recycle), this.#rings);
    }
    const { path = "" } = source;
    this.#read = this.#io.ended.catch((error) => {
      throw error instanceof SysError ? fileError("read", path, error) : error;
    });
    // No device goes on without the reader, nor the reader without one of them.
    this.#read.catch((error) => lockstep.end(error));
    lockstep.signal.addEventListener("abort", () => cancelRings(this.#rings));
    if (lockstep.signal.aborted) cancelRings(this.#rings);
  }

  /**
   * Waits for the header.
   *
   * @throws {CheckpointError} If the checkpoint is bad.
   */
  async header(): Promise<DecodedHeader> {
    return await this.#io.begun.catch(() => null) ?? await this.#stopped();
  }

  /**
   * Gives a device, which is in RESUMING, all of its frames: the checkpoint as a
   * whole has been found good then.
   *
   * @throws {CheckpointError} If the checkpoint turns out bad.
   * @throws {MigrationError} If the device fails, with its state.
   */
  async take({ device, number }: Member): Promise<void> {
    const ring = this.#rings[number]!;
    const threaded = hasThread(device);
    for (;;) {
      const turn = await ask(device, "take", ring, threaded ? TURN_MS : 0);
      if (turn === "ended") return;
      if (turn === "cancelled") await this.#stopped();
      if (threaded) continue;
      if (turn === "waiting") await new FrameConsumer(ring).untilBatch();
      else await eventLoopTurn();
    }
  }

  /** All devices have taken all. */
  end(): void {
    releaseRings(this.#rings);
  }

  /** Reads no more; resolves once the source's fd is not used any more. */
  async abandon(reason: unknown): Promise<void> {
    cancelRings(this.#rings);
    // Not awaited: a read of a stream that nobody writes to may never end. The thread's reads do.
    if (this.#chunks !== null) this.#chunks.cancel(reason);
    else await this.#read.catch(() => {});
  }

  /** The rings were cancelled: by the reader, or because something else has ended it all. */
  async #stopped(): Promise<never> {
    this.#lockstep.signal.throwIfAborted();
    await this.#read;
    this.#lockstep.signal.throwIfAborted();
    throw new Error("Cannot go on: the checkpoint's reader has stopped");
  }
}

/** Chunks of a stream, refused if they are no bytes; each is given back once it is read. */
function checkedChunks(chunks: Chunks, recycle: boolean): () => Promise<Uint8Array | null> {
  const recycler = new Recycler(recycle);
  let last: Uint8Array | null = null;
  return async () => {
    if (last !== null) recycler.done(last.buffer as ArrayBuffer);
    const { done, value } = await chunks.next();
    if (done) {
      recycler.end();
      return null;
    }
    demandBytes(value);
    return last = value;
  };
}
