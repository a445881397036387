/**
 * Reads a checkpoint's batches from a stream of its bytes.
 */

import { demandBytes } from "../../base/chunks.ts";
import { Recycler } from "../batches/recycler.ts";
import type { Batch } from "../batches/batch.ts";
import type { CheckpointReader } from "./checkpoint_reader.ts";
import type { CheckpointTrailer } from "../metadata/trailer.ts";

/**
 * Yields the batches as the bytes arrive, and null after each chunk, so that the caller sees a
 * header without data. Returns the trailer.
 *
 * @param recycle Give buffers of the pool that chunks came in back.
 * @throws {CheckpointError} At the first error in the checkpoint.
 */
export async function* readBatches(
  chunks: ReadableStreamDefaultReader<Uint8Array>,
  reader: CheckpointReader,
  recycle: boolean,
): AsyncGenerator<Batch | null, CheckpointTrailer> {
  const recycler = new Recycler(recycle);
  for (;;) {
    const { done, value: chunk } = await chunks.read();
    if (done) break;
    demandBytes(chunk);
    yield* reader.push(chunk);
    recycler.done(chunk.buffer as ArrayBuffer);
    yield null;
  }
  recycler.end();
  return reader.end();
}
