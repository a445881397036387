/**
 * The writer's or the reader's thread, as the caller's thread sees it.
 */

// The thread throws its errors.
import { ThreadError } from "../../base/thread_error.ts";
import "../checkpoint_error.ts";
import type { DecodedHeader } from "../metadata/header.ts";
import type { CheckpointTrailer } from "../metadata/trailer.ts";
import { type TransferredError, unpackError } from "../../base/error_transfer.ts";
import { startWorker, threadOf } from "../../base/thread.ts";
import type { CheckpointContent } from "./_multiplexer.ts";
import { readStream, type ReadTask } from "./read_checkpoint.ts";
import type { RingMemory } from "./ring.ts";
import { cancelRings } from "./rings.ts";
import { writeStream, type WriteTask, type Written } from "./write_checkpoint.ts";

/** The request to the thread, posted once. */
export type IoRequest = { readonly write: WriteTask } | { readonly read: ReadTask };

/** What it answers: that the header is written, or which was read; and then how it ended. */
export type IoAnswer =
  | { readonly begun: true | DecodedHeader }
  | { readonly ended: Written | CheckpointTrailer | null }
  | { readonly error: TransferredError };

/** A checkpoint that is being written or read, on a thread of its own. */
export interface IoThread<Begun, Ended> {
  /** Resolves once devices may begin; to null if the rings were cancelled before. */
  readonly begun: Promise<Begun | null>;
  /**
   * Resolves once all is done, after which the fd is not used any more; to null if the rings
   * were cancelled. A failure, which rejects both, cancels them.
   */
  readonly ended: Promise<Ended | null>;
}

function start<Begun, Ended>(
  request: IoRequest,
  rings: readonly RingMemory[],
): IoThread<Begun, Ended> {
  const begun = Promise.withResolvers<Begun | null>();
  const ended = Promise.withResolvers<Ended | null>();
  // What awaits one of them hears of a failure; the other must not count as unhandled.
  begun.promise.catch(() => {});
  ended.promise.catch(() => {});
  let over = false;
  const end = (): void => {
    over = true;
    thread.terminate();
  };
  const fail = (error: Error): void => {
    end();
    begun.reject(error);
    ended.reject(error);
  };
  const worker = startWorker(new URL("./io_worker.ts", import.meta.url));
  const thread = threadOf<IoRequest, IoAnswer>(worker, {
    message: (answer) => {
      if ("error" in answer) return fail(unpackError(answer.error));
      if ("begun" in answer) return begun.resolve(answer.begun as Begun);
      end();
      begun.resolve(null);
      ended.resolve(answer.ended as Ended | null);
    },
    ended: (why) => {
      if (over) return;
      cancelRings(rings);
      fail(new ThreadError(`The checkpoint's thread has ended: ${why}`));
    },
  });
  thread.post(request);
  return { begun: begun.promise, ended: ended.promise };
}

/**
 * Starts to write a checkpoint. It has begun once its header is written.
 *
 * @throws {SysError} Through the promises, if the fd takes no more.
 */
export function startWriting(task: WriteTask): IoThread<true, Written> {
  return start({ write: task }, task.rings);
}

/**
 * Starts to read a checkpoint. It has begun once its header is read, and is over once all of it was
 * found right; its last frames may still lie in the rings then.
 *
 * @throws {CheckpointError} Through the promises, if it is bad.
 * @throws {SysError} Through the promises, if it cannot be read.
 */
export function startReading(task: ReadTask): IoThread<DecodedHeader, CheckpointTrailer> {
  return start({ read: task }, task.rings);
}

/** What goes on on this thread, as an {@linkcode IoThread}. */
function here<Begun, Ended>(
  work: (onBegun: (begun: Begun) => void) => Promise<Ended | null>,
): IoThread<Begun, Ended> {
  const begun = Promise.withResolvers<Begun | null>();
  begun.promise.catch(() => {});
  const ended = work(begun.resolve);
  ended.then(() => begun.resolve(null), begun.reject);
  return { begun: begun.promise, ended };
}

/**
 * Starts to write a checkpoint to a stream, on this thread, which does not block.
 *
 * @throws What the stream fails with, through the promises.
 */
export function startWritingStream(
  writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>,
  content: CheckpointContent,
): IoThread<true, Written> {
  return here((onBegun) => writeStream(writer, content, () => onBegun(true)));
}

/**
 * Starts to read a checkpoint from chunks, on this thread, which does not block.
 *
 * @param next See {@linkcode readStream}.
 * @throws {CheckpointError} Through the promises, if it is bad; what `next` throws, too.
 */
export function startReadingStream(
  next: () => Promise<Uint8Array | null>,
  rings: readonly RingMemory[],
): IoThread<DecodedHeader, CheckpointTrailer> {
  return here((onBegun) => readStream(next, rings, onBegun));
}
