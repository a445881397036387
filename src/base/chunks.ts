/**
 * The chunks of any source of bytes.
 *
 * @module
 */

/** A source that can be streamed, such as an open checkpoint file. */
export interface Streamable {
  /** The bytes, from the start. */
  stream(): ReadableStream<Uint8Array>;
}

/** Whether a value is an object with these methods. */
export function has(value: unknown, ...methods: string[]): boolean {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Readonly<Record<string, unknown>>;
  return methods.every((method) => typeof fields[method] === "function");
}

/** Whether a value is a stream to write to. */
export function isWritable(value: unknown): value is WritableStream<Uint8Array<ArrayBuffer>> {
  return has(value, "getWriter");
}

/** Whether a value is a stream to read from. */
export function isReadable(value: unknown): value is ReadableStream<Uint8Array<ArrayBuffer>> {
  return has(value, "getReader");
}

/**
 * Refuses a stream that is in use.
 *
 * @throws {TypeError} If it is locked.
 */
export function demandUnlocked(what: string, { locked }: { readonly locked: boolean }): void {
  if (locked) throw new TypeError(`Cannot ${what}: somebody else has locked the stream`);
}

/** Chunks, one after the other. */
export interface Chunks {
  /** Returns the next chunk. */
  next(): Promise<{ readonly done: boolean; readonly value: Uint8Array }>;
  /** Ends reading; does not wait for the read under way, since a read of a pipe may never end. */
  cancel(reason: unknown): void;
}

/**
 * Returns the chunks of a source.
 *
 * @throws {TypeError} If it is not a source, or a locked stream.
 */
export function chunksOf(
  origin: AsyncIterable<Uint8Array> | ReadableStream<Uint8Array> | Streamable,
): Chunks {
  const from = !isReadable(origin) && has(origin, "stream")
    ? (origin as Streamable).stream()
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
 * Refuses chunks of a stream that are not bytes.
 *
 * @throws {TypeError} If the chunk is not a Uint8Array.
 */
export function demandBytes(chunk: unknown): void {
  if (chunk instanceof Uint8Array) return;
  throw new TypeError(
    "Cannot read the checkpoint: the stream gave something else than a Uint8Array",
  );
}
