/**
 * Plain Web streams where a checkpoint goes to or comes from.
 */

import { demandUnlocked, has, isReadable, isWritable } from "../base/chunks.ts";
import type { RestoreSource } from "./restore.ts";
import type { CheckpointSink } from "./save.ts";

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
