/**
 * Where a checkpoint goes to or comes from: files, plain Web streams, and what callers bring.
 *
 * @module
 */

import { demandUnlocked, has, isReadable, isWritable } from "../base/chunks.ts";
import type { ReadableFd } from "../checkpoint/file/checkpoint_source.ts";
import type { ReadBack } from "../checkpoint/read_back.ts";

/** Where a checkpoint is written to. */
export interface CheckpointSink {
  /** What it is called, for messages. */
  readonly path?: string | undefined;
  /**
   * An open fd where the bytes may be written to in place of the stream, by a thread, which is
   * quicker. It stays open until the commit or the abort; a regular file is empty.
   */
  readonly fd?: number | undefined;
  /** Takes the bytes, in order. */
  readonly writable: WritableStream<Uint8Array<ArrayBuffer>>;
  /** Makes what was written appear, whole; called after the stream has closed. */
  commit(): Promise<void>;
  /** Leaves no trace, if possible; `reason` is what ended the save. */
  abort(reason?: unknown): Promise<void>;
  /** How to read what was written before it appears; undefined if that is not possible. */
  readonly readBack?: ReadBack | undefined;
}

/** Where a checkpoint comes from; a `CheckpointSource` is one. */
export interface RestoreSource {
  /** Whether it can be streamed twice. */
  readonly seekable: boolean;
  /** The bytes, from the start. */
  stream(): ReadableStream<Uint8Array<ArrayBuffer>>;
  /** What it is called, for messages. */
  readonly path?: string | undefined;
  /** The same bytes, to be read by a thread, which is quicker; taken in place of a stream. */
  readonly file?: ReadableFd | undefined;
}

/** What a save takes. */
type Target = CheckpointSink | WritableStream<Uint8Array<ArrayBuffer>>;
/** What a restore takes. */
type Origin = RestoreSource | ReadableStream<Uint8Array>;

/**
 * A sink over what the caller gave; a plain stream is closed at the end, or aborted.
 *
 * @throws {TypeError} If it is neither a sink nor a stream that can be written to, or is locked.
 */
export function sinkOf(target: Target): CheckpointSink {
  if (isWritable(target)) {
    demandUnlocked("save", target);
    return {
      writable: target,
      commit: () => Promise.resolve(),
      // Who writes to it aborts it; not awaited, as that waits for a write that may never end.
      abort(reason): Promise<void> {
        if (!target.locked) target.abort(reason).catch(() => {});
        return Promise.resolve();
      },
    };
  }
  const sink = target as Partial<CheckpointSink> | null | undefined;
  if (!has(sink, "commit", "abort") || !isWritable(sink!.writable)) {
    throw new TypeError("Cannot save: the sink is neither a WritableStream nor a CheckpointSink");
  }
  demandUnlocked("save", sink!.writable);
  return target;
}

/** A source over what the caller gave, and whether its buffers may go back to the pool. */
export interface ResolvedSource {
  /** The source. */
  readonly source: RestoreSource;
  /** Whether nobody else has them: chunks of a plain stream may be its giver's still. */
  readonly recycle: boolean;
}

/**
 * A source over what the caller gave.
 *
 * @throws {TypeError} If it is neither a source nor a stream that can be read, or is locked.
 */
export function sourceOf(origin: Origin): ResolvedSource {
  if (isReadable(origin)) {
    demandUnlocked("restore", origin);
    return { source: { seekable: false, stream: () => origin }, recycle: false };
  }
  if (!has(origin, "stream")) {
    throw new TypeError(
      "Cannot restore: the source is neither a ReadableStream nor a RestoreSource",
    );
  }
  return { source: origin as RestoreSource, recycle: true };
}
