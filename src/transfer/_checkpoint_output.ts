/**
 * The caller's end of a save's pipeline: each device's thread makes frames in
 * its ring, and a writer takes them from there. Nothing of them passes here,
 * but for a sink that has a stream only.
 */

import { fileError } from "../checkpoint/file/file_error.ts";
import type { CheckpointHeader } from "../checkpoint/metadata/header.ts";
import {
  type IoThread,
  startWriting,
  startWritingStream,
} from "../checkpoint/pipeline/io_thread.ts";
import type { Written } from "../checkpoint/pipeline/write_checkpoint.ts";
import { FrameProducer } from "../checkpoint/pipeline/frame_producer.ts";
import type { RingMemory } from "../checkpoint/pipeline/ring.ts";
import { cancelRings, endRings, releaseRings, savingRings } from "../checkpoint/pipeline/rings.ts";
import { SysError } from "../kernel/sys_error.ts";
import { ask, hasThread } from "../migration/thread/session_client.ts";
import { type SavedPhase, TURN_MS } from "../migration/thread/frame_turns.ts";
import type { Phase } from "../checkpoint/batches/transaction.ts";
import { canUseIoThread, eventLoopTurn, kindOf } from "./_threads.ts";
import type { Lockstep, Member } from "./lockstep.ts";
import type { EncodeOptions } from "../checkpoint/format/checkpoint_encoder.ts";
import type { CheckpointSink } from "./sinks_and_sources.ts";

/** Writes the checkpoint of a lockstep of devices. */
export class CheckpointOutput {
  readonly #lockstep: Lockstep;
  readonly #rings: readonly RingMemory[];
  readonly #compress: boolean;
  /** When devices could begin: what the frames' times are counted from. */
  #begun = performance.timeOrigin + performance.now();
  /** The stream's writer, if there is no thread for it. */
  readonly #stream: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>> | null;
  readonly #io: IoThread<true, Written>;
  /** What the writer came to; null if a device gave no more. */
  readonly #written: Promise<Written | null>;

  /** Begins to write; the header is there once {@linkcode CheckpointOutput.begin} resolves. */
  constructor(
    lockstep: Lockstep,
    sink: CheckpointSink,
    header: CheckpointHeader,
    options: Pick<EncodeOptions, "compress" | "digest">,
  ) {
    const devices = lockstep.members.map(({ device }) => device);
    this.#lockstep = lockstep;
    this.#compress = options.compress === "zstd";
    this.#rings = savingRings(devices.length, this.#compress);
    const content = { header, digest: options.digest ?? null, rings: this.#rings };
    const { fd } = sink;
    if (fd !== undefined && canUseIoThread(devices)) {
      this.#stream = null;
      this.#io = startWriting({ ...content, fd, kind: kindOf(fd, "write", sink.path) });
    } else {
      this.#stream = sink.writable.getWriter();
      this.#io = startWritingStream(this.#stream, content);
    }
    const { path = "" } = sink;
    this.#written = this.#io.ended.catch((error) => {
      throw error instanceof SysError ? fileError("write", path, error) : error;
    });
    // No device goes on without the writer, nor the writer without one of them.
    this.#written.catch((error) => lockstep.end(error));
    lockstep.signal.addEventListener("abort", () => cancelRings(this.#rings));
    if (lockstep.signal.aborted) cancelRings(this.#rings);
  }

  /**
   * Waits until the target has taken the checkpoint's beginning.
   *
   * @throws {CheckpointFileError} If it takes nothing.
   */
  async begin(): Promise<void> {
    if (await this.#io.begun.catch(() => null) === null) await this.#stopped();
    this.#begun = performance.timeOrigin + performance.now();
  }

  /**
   * Reads the phase that a device has entered to its end; returns how it went.
   *
   * @throws {MigrationError} If the device fails, with its state.
   */
  async fill({ device, number }: Member, phase: Phase): Promise<SavedPhase> {
    const target = {
      ring: this.#rings[number]!,
      device: number,
      begun: this.#begun,
      compress: this.#compress,
    };
    const threaded = hasThread(device);
    for (;;) {
      const turn = await ask(device, "fill", target, phase, threaded ? TURN_MS : 0);
      if (typeof turn !== "string") return turn;
      if (turn === "cancelled") await this.#stopped();
      if (threaded) continue;
      if (turn === "waiting") await new FrameProducer(target).untilRoom();
      else await eventLoopTurn();
    }
  }

  /** All devices have given all: waits until all of it is written. */
  async end(): Promise<void> {
    endRings(this.#rings);
    if (await this.#written === null) await this.#stopped();
    releaseRings(this.#rings);
  }

  /** Writes no more; resolves once the sink's fd is not used any more. */
  async abandon(reason: unknown): Promise<void> {
    cancelRings(this.#rings);
    // Not awaited: a write to a stream that nobody reads may never end. The thread's writes do.
    if (this.#stream !== null) this.#stream.abort(reason).catch(() => {});
    else await this.#written.catch(() => {});
  }

  /** The rings were cancelled: by the writer, or because something else has ended it all. */
  async #stopped(): Promise<never> {
    this.#lockstep.signal.throwIfAborted();
    await this.#written;
    this.#lockstep.signal.throwIfAborted();
    throw new Error("Cannot go on: the checkpoint's writer has stopped");
  }
}
