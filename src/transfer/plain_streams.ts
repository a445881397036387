/**
 * Plain Web streams where a checkpoint goes to or comes from.
 */

import type { RestoreSource } from "./restore.ts";
import type { CheckpointSink } from "./save.ts";

/** What a save takes. */
type Target = CheckpointSink | WritableStream<Uint8Array<ArrayBuffer>>;
/** What a restore takes. */
type Origin = RestoreSource | ReadableStream<Uint8Array>;

function has(value: unknown, ...methods: string[]): boolean {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Readonly<Record<string, unknown>>;
  return methods.every((method) => typeof fields[method] === "function");
}

function isWritable(value: unknown): value is WritableStream<Uint8Array<ArrayBuffer>> {
  return has(value, "getWriter");
}

function isReadable(value: unknown): value is ReadableStream<Uint8Array<ArrayBuffer>> {
  return has(value, "getReader");
}

function demandUnlocked(what: string, { locked }: { readonly locked: boolean }): void {
  if (locked) throw new TypeError(`Cannot ${what}: somebody else has locked the stream`);
}

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

/** Chunks, one after the other. */
export interface Chunks {
  /** The next one. */
  next(): Promise<{ readonly done: boolean; readonly value: Uint8Array }>;
  /** Wants no more; not waited for, as a read of a pipe that nobody writes to may never end. */
  cancel(reason: unknown): void;
}

/**
 * The chunks of whatever gives some.
 *
 * @throws {TypeError} If it is nothing that does, or a stream that is locked.
 */
export function chunksOf(origin: AsyncIterable<Uint8Array> | Origin): Chunks {
  const from = !isReadable(origin) && has(origin, "stream")
    ? (origin as RestoreSource).stream()
    : origin as AsyncIterable<Uint8Array>;
  if (isReadable(from)) {
    demandUnlocked("read the checkpoint", from);
    const reader = from.getReader();
    return {
      next: async () => {
        const { done, value } = await reader.read();
        return { done, value: value! };
      },
      cancel: (reason) => void reader.cancel(reason).catch(() => {}),
    };
  }
  const begin = from?.[Symbol.asyncIterator];
  if (typeof begin !== "function") {
    throw new TypeError("Cannot read the checkpoint: the source is neither a stream nor chunks");
  }
  const iterator = begin.call(from);
  return {
    next: async () => {
      const { done, value } = await iterator.next();
      return { done: done === true, value };
    },
    cancel: () => void iterator.return?.().catch(() => {}),
  };
}

/**
 * Refuses chunks of a stream that are no bytes.
 *
 * @throws {TypeError} If it is none.
 */
export function demandBytes(chunk: unknown): void {
  if (chunk instanceof Uint8Array) return;
  throw new TypeError(
    "Cannot read the checkpoint: the stream gave something else than a Uint8Array",
  );
}
