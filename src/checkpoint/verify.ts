/**
 * Checks a checkpoint, and returns what it contains.
 *
 * @module
 */

import { Ending } from "../base/ending.ts";
import { Recycler } from "./batches/recycler.ts";
import { FORMAT_VERSION } from "./frames/constants.ts";
import type { DecodedHeader } from "./metadata/header.ts";
import { CheckpointError } from "./checkpoint_error.ts";
import { CheckpointReader, type DevicePhaseTimes } from "./format/checkpoint_reader.ts";
import { chunksOf, demandBytes, has, isReadable } from "../base/chunks.ts";
import type { CheckpointTrailer, PhaseTotals } from "./metadata/trailer.ts";

/** The content of a good checkpoint. */
export interface CheckpointSummary {
  /** The version of the format. */
  readonly version: number;
  /** Its header. */
  readonly header: DecodedHeader;
  /** Its trailer: the totals. */
  readonly trailer: CheckpointTrailer;
  /** Its size as stored, in bytes. */
  readonly storedBytes: number;
  /** Its frames: those with data, how many of these are compressed, and skipped optional ones. */
  readonly frames: { readonly data: number; readonly compressed: number; readonly skipped: number };
  /** Totals by device and phase, in the order of their first frames. */
  readonly phases: readonly PhaseTotals[];
  /** Memory that the devices' DMA reaches, zeros included, in bytes. */
  readonly memoryBytes: number;
  /** How the phases went; empty if the checkpoint does not say it. */
  readonly times: readonly DevicePhaseTimes[];
}

/** What was read of a checkpoint, whether it is good or not. */
export interface CheckpointInspection {
  /** The version of the format; null if it could not be read. */
  readonly version: number | null;
  /** Its header; null if it could not be read. */
  readonly header: DecodedHeader | null;
  /** Its trailer; null if it could not be read. */
  readonly trailer: CheckpointTrailer | null;
  /** How much of it was read, as stored, in bytes. */
  readonly storedBytes: number;
  /** The frames that were read. */
  readonly frames: CheckpointSummary["frames"];
  /** Totals of what was read, by device and phase. */
  readonly phases: readonly PhaseTotals[];
  /** Memory that was read, zeros included, in bytes. */
  readonly memoryBytes: number;
  /** How the phases that were read went; empty if the checkpoint does not say it. */
  readonly times: readonly DevicePhaseTimes[];
  /** The first thing that is wrong with it; null if it is good. */
  readonly error: CheckpointError | null;
}

/** How much of a checkpoint was verified. */
export interface VerifyProgress {
  /** Bytes as stored. */
  readonly storedBytes: number;
  /** Its frames so far. */
  readonly frames: CheckpointSummary["frames"];
}

/** How to verify. */
export interface VerifyOptions {
  /** Aborts it, even if the source gives nothing more. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Is called after each chunk, at most a MiB of a file, and at the end with the numbers of what is
   * returned. What it throws ends the work.
   */
  readonly onProgress?: ((progress: VerifyProgress) => void) | undefined;
}

/**
 * Reads a whole checkpoint and checks everything that a restore relies on:
 * frames, CRCs, order, compression, totals, digest.
 *
 * @param source The bytes: a stream, an open checkpoint file, or chunks of any other kind.
 * @throws {CheckpointError} At the first error in the checkpoint.
 * @throws {TypeError} If the source is none of these, is locked, or gives anything but bytes.
 *
 * @example
 * ```ts
 * import { CheckpointError, verifyCheckpoint } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * await assert.rejects(
 *   verifyCheckpoint(ReadableStream.from([new TextEncoder().encode("no checkpoint at all")])),
 *   (error: CheckpointError) => error.code === "not-a-checkpoint",
 * );
 * ```
 */
export async function verifyCheckpoint(
  source: AsyncIterable<Uint8Array> | ReadableStream<Uint8Array> | {
    stream(): ReadableStream<Uint8Array>;
  },
  options: VerifyOptions = {},
): Promise<CheckpointSummary> {
  const { version, header, trailer, error, ...read } = await inspectCheckpoint(source, options);
  if (error !== null) throw error;
  return { version: version!, header: header!, trailer: trailer!, ...read };
}

/**
 * Reads a checkpoint as {@linkcode verifyCheckpoint} does, and returns what is in it up to its end,
 * or up to the first thing that is wrong with it.
 *
 * @param source The bytes: a stream, an open checkpoint file, or chunks of any other kind.
 * @throws {TypeError} If the source is none of these, is locked, or gives anything but bytes.
 *
 * @example
 * ```ts
 * import { openDevice, save } from "vfiokit";
 * import { inspectCheckpoint } from "vfiokit/checkpoint";
 * import assert from "node:assert/strict";
 *
 * const chunks: Uint8Array<ArrayBuffer>[] = [];
 * await using device = await openDevice("sim:trapped?size=256KiB");
 * await save(device, new WritableStream({ write: (chunk) => void chunks.push(chunk) }));
 * const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
 * const cut = ReadableStream.from([bytes.subarray(0, 100_000)]);
 * const { header, trailer, error } = await inspectCheckpoint(cut);
 * assert.equal(header?.devices.length, 1);
 * assert.equal(trailer, null);
 * assert.equal(error?.code, "truncated");
 * ```
 */
export async function inspectCheckpoint(
  source: Parameters<typeof verifyCheckpoint>[0],
  options: VerifyOptions = {},
): Promise<CheckpointInspection> {
  const chunks = chunksOf(source);
  using ending = new Ending(options.signal);
  const reader = new CheckpointReader({ discard: true });
  let wrong: CheckpointError | null = null;
  // Nobody else has the chunks of a stream that is opened here.
  const report = (): void => {
    const { storedBytes, frames } = reader;
    options.onProgress?.({ storedBytes, frames: { ...frames } });
  };
  const recycler = new Recycler(!isReadable(source) && has(source, "stream"));
  try {
    for (;;) {
      const { done, value: chunk } = await ending.until(chunks.next());
      if (done) break;
      demandBytes(chunk);
      // The reader keeps the totals.
      for (const _ of reader.push(chunk));
      report();
      recycler.done(chunk.buffer as ArrayBuffer);
    }
    reader.end();
  } catch (error) {
    chunks.cancel(error);
    if (!(error instanceof CheckpointError)) throw error;
    wrong = error;
  }
  recycler.end();
  // What was wrong may have come in the middle of a chunk.
  if (wrong !== null) report();
  return {
    version: reader.header === null ? null : FORMAT_VERSION,
    header: reader.header,
    trailer: reader.trailer,
    storedBytes: reader.storedBytes,
    frames: reader.frames,
    phases: reader.phases,
    memoryBytes: reader.pageBytes,
    times: reader.times,
    error: wrong,
  };
}
