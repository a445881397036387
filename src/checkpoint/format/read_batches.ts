/**
 * Reads a checkpoint's batches from a stream of its bytes.
 */

import { demandBytes } from "../../base/chunks.ts";
import type { Batch } from "../batches/batch.ts";
import type { CheckpointReader } from "./checkpoint_reader.ts";
import { DirectBytes } from "../source/direct_stream.ts";
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
    if (chunk as unknown instanceof DirectBytes) {
      yield* readDirectly(chunk as unknown as DirectBytes, reader);
    } else {
      demandBytes(chunk);
      yield* reader.push(chunk);
    }
    yield null;
  }
  return reader.end();
}

/** The same, each byte to where it belongs. */
async function* readDirectly(
  bytes: DirectBytes,
  reader: CheckpointReader,
): AsyncGenerator<Batch | null, void> {
  let header = reader.header;
  for (;;) {
    const count = await bytes.read(reader.room());
    if (count === 0) return;
    const batch = reader.filled(count);
    if (batch !== null || header !== reader.header) yield batch;
    header = reader.header;
  }
}
