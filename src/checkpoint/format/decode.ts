/**
 * A checkpoint to transactions, as a stream.
 *
 * @module
 */

import type { Transaction } from "../batches/transaction.ts";
import { readBatches } from "./read_batches.ts";
import { batchTransactions } from "../batches/batch.ts";
import type { DecodedHeader } from "../metadata/header.ts";
import { CheckpointReader } from "./reader.ts";
import type { CheckpointTrailer } from "../metadata/trailer.ts";

/** How a checkpoint is decoded. */
export interface DecodeOptions {
  /** Refuse a checkpoint that the pre-copy phase alone has written, at its header. Default false. */
  readonly requireComplete?: boolean | undefined;
  /**
   * Give buffers of the pool that chunks came in back: only where nobody else
   * looks at them. Default false.
   */
  readonly recycle?: boolean | undefined;
}

/** A checkpoint on its way: bytes in, transactions out. */
export interface CheckpointDecoder {
  /** Takes the bytes, in pieces of any size. */
  readonly writable: WritableStream<Uint8Array>;
  /**
   * Gives the transactions. Those of a frame lie one behind the other in a
   * buffer of their own, and come once the frame has been checked. It closes
   * only if the whole checkpoint was good.
   */
  readonly readable: ReadableStream<Transaction>;
  /** The header, as soon as it is there; nothing needs to be read from `readable` before. */
  readonly header: Promise<DecodedHeader>;
  /** The trailer, once everything was read and found good. */
  readonly trailer: Promise<CheckpointTrailer>;
}

/** A promise that nobody has to look at. */
function silent<Value>(): PromiseWithResolvers<Value> {
  const resolvers = Promise.withResolvers<Value>();
  resolvers.promise.catch(() => {});
  return resolvers;
}

/**
 * A stream that takes a checkpoint's bytes and gives its transactions: see
 * {@linkcode encodeCheckpoint} for an example.
 *
 * @throws {CheckpointError} Through the stream and both promises, at the first
 * thing that cannot be right.
 */
export function decodeCheckpoint(options: DecodeOptions = {}): CheckpointDecoder {
  const reader = new CheckpointReader({ requireComplete: options.requireComplete });
  const header = silent<DecodedHeader>();
  const trailer = silent<CheckpointTrailer>();
  const input = new TransformStream<Uint8Array, Uint8Array>();
  const chunks = input.readable.getReader();
  const source = readBatches(chunks, reader, options.recycle ?? false);
  const fail = (error: unknown): void => {
    header.reject(error);
    trailer.reject(error);
  };
  // Nobody may be reading when the input fails.
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
    // One ahead, so that the header is read though nobody asks for transactions yet.
  }, { highWaterMark: 1 });
  return { writable: input.writable, readable, header: header.promise, trailer: trailer.promise };
}
