/**
 * Reads a checkpoint's batches from a stream of its bytes.
 */

import { demandBytes } from "../../base/chunks.ts";
import type { Batch } from "../batches/batch.ts";
import type { CheckpointReader } from "./checkpoint_reader.ts";
import type { CheckpointTrailer } from "../metadata/trailer.ts";

/**
 * Yields the batches as the bytes arrive, and null after each chunk, so that the caller sees a
 * header without data. Returns the trailer.
 *
 * @throws {CheckpointError} At the first error in the checkpoint.
 */
export async function* readBatches(
  chunks: ReadableStreamDefaultReader<Uint8Array>,
  reader: CheckpointReader,
): AsyncGenerator<Batch | null, CheckpointTrailer> {
  for (;;) {
    const { done, value: chunk } = await chunks.read();
    if (done) break;
    demandBytes(chunk);
    yield* reader.push(chunk);
    yield null;
  }
  return reader.end();
}
