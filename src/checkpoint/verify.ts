/**
 * Checks a checkpoint, and returns what it contains.
 *
 * @module
 */

import { Ending } from "../base/ending.ts";
import { Recycler } from "./batches/recycler.ts";
import { FORMAT_VERSION } from "./frames/constants.ts";
import type { DecodedHeader } from "./metadata/header.ts";
import { CheckpointReader } from "./format/checkpoint_reader.ts";
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
}

/** How to verify. */
export interface VerifyOptions {
  /** Aborts it, even if the source gives nothing more. */
  readonly signal?: AbortSignal | undefined;
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
 * import { CheckpointError, verifyCheckpoint } from "@vfiokit/vfiokit";
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
  const chunks = chunksOf(source);
  using ending = new Ending(options.signal);
  const reader = new CheckpointReader({ discard: true });
  // Nobody else has the chunks of a stream that is opened here.
  const recycler = new Recycler(!isReadable(source) && has(source, "stream"));
  try {
    for (;;) {
      const { done, value: chunk } = await ending.until(chunks.next());
      if (done) break;
      demandBytes(chunk);
      // The reader keeps the totals.
      for (const _ of reader.push(chunk));
      recycler.done(chunk.buffer as ArrayBuffer);
    }
  } catch (error) {
    chunks.cancel(error);
    throw error;
  }
  recycler.end();
  const trailer = reader.end();
  return {
    version: FORMAT_VERSION,
    header: reader.header!,
    trailer,
    storedBytes: reader.storedBytes,
    frames: reader.frames,
    phases: reader.phases,
  };
}
