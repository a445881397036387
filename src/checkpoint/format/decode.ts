/**
 * Decodes a checkpoint into transactions, as a stream.
 *
 * @module
 */

import type { Transaction } from "../batches/transaction.ts";
import { readBatches } from "./read_batches.ts";
import { batchTransactions } from "../batches/batch.ts";
import type { DecodedHeader } from "../metadata/header.ts";
import { takesDirectBytes } from "../source/direct_stream.ts";
import { CheckpointReader } from "./checkpoint_reader.ts";
import type { CheckpointTrailer } from "../metadata/trailer.ts";

/** Options of decoding. */
export interface DecodeOptions {
  /** Refuse a checkpoint of the pre-copy phase alone, at its header. Default false. */
  readonly requireComplete?: boolean | undefined;
}

/** A transform from a checkpoint's bytes to transactions. */
export interface CheckpointDecoder {
  /** Takes the bytes, in pieces of any size. */
  readonly writable: WritableStream<Uint8Array>;
  /**
   * Gives the transactions. Those of a frame are views of one buffer, and come once the frame has
   * been checked. The stream closes only if the whole checkpoint is good.
   */
  readonly readable: ReadableStream<Transaction>;
  /** The header, as soon as it has arrived, even if nothing was read from `readable`. */
  readonly header: Promise<DecodedHeader>;
  /** The trailer, once everything was read and is good. */
  readonly trailer: Promise<CheckpointTrailer>;
}

/** A promise whose rejection may stay unhandled. */
function silent<Value>(): PromiseWithResolvers<Value> {
  const resolvers = Promise.withResolvers<Value>();
  resolvers.promise.catch(() => {});
  return resolvers;
}

/**
 * Makes a stream that takes a checkpoint's bytes and gives its transactions: see
 * {@linkcode encodeCheckpoint} for an example.
 *
 * @throws {CheckpointError} Through the stream and both promises, at the first error in the
 * checkpoint.
 */
export function decodeCheckpoint(options: DecodeOptions = {}): CheckpointDecoder {
  const reader = new CheckpointReader({ requireComplete: options.requireComplete });
  const header = silent<DecodedHeader>();
  const trailer = silent<CheckpointTrailer>();
  const input = new TransformStream<Uint8Array, Uint8Array>();
  takesDirectBytes(input.writable);
  const chunks = input.readable.getReader();
  const source = readBatches(chunks, reader);
  const fail = (error: unknown): void => {
    header.reject(error);
    trailer.reject(error);
  };
  // There may be no reader when the input fails.
  chunks.closed.catch(fail);
  const readable = new ReadableStream<Transaction>({
    async pull(controller): Promise<void> {
      try {
        let next = await source.next();
        while (next.value === null) {
          if (reader.header !== null) header.resolve(reader.header);
          next = await source.next();
        }
        if (next.done) {
          trailer.resolve(next.value);
          return controller.close();
        }
        header.resolve(reader.header!);
        for (const transaction of batchTransactions(next.value)) controller.enqueue(transaction);
      } catch (error) {
        fail(error);
        chunks.cancel(error).catch(() => {});
        throw error;
      }
    },
    async cancel(reason): Promise<void> {
      fail(reason);
      await chunks.cancel(reason);
    },
    // Read one ahead, so that the header arrives before transactions are read.
  }, { highWaterMark: 1 });
  return { writable: input.writable, readable, header: header.promise, trailer: trailer.promise };
}
