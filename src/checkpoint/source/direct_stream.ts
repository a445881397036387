/**
 * A stream of bytes that a decoder reads to where they belong.
 *
 * Each chunk of a stream is new memory, since its reader may keep it, and is copied once more. So
 * when such a stream is piped into a decoder, a single chunk stands for all bytes: the means to
 * read them. Any other reader gets chunks.
 */

type Bytes = Uint8Array<ArrayBuffer>;

/** Where the bytes come from, in order. Either way may be used, and one after the other. */
export interface ByteReads {
  /** The next chunk; null at the end. */
  next(): Promise<Bytes | null>;
  /** Reads some bytes into memory of the caller's; 0 at the end. */
  read(into: Bytes): Promise<number>;
  /** Reads no more. Resolves once no read is under way. */
  settle(): Promise<void>;
}

/** All bytes of a stream, to be read once; it goes through a decoder's input as a chunk would. */
export class DirectBytes {
  readonly #reads: ByteReads;
  readonly #ended = Promise.withResolvers<void>();

  constructor(reads: ByteReads) {
    this.#reads = reads;
  }

  /** Resolves once all were read. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Reads some bytes; 0 at the end. */
  async read(into: Bytes): Promise<number> {
    const count = await this.#reads.read(into);
    if (count === 0) this.#ended.resolve();
    return count;
  }
}

const takers = new WeakSet<WritableStream>();

/** From now on a stream takes {@linkcode DirectBytes}, too. */
export function takesDirectBytes(input: WritableStream): void {
  takers.add(input);
}

/** A stream over reads; see the file's comment. */
export class DirectStream extends ReadableStream<Bytes> {
  readonly #reads: ByteReads;
  readonly #progress: { begun: boolean };

  constructor(reads: ByteReads) {
    const progress = { begun: false };
    super({
      async pull(controller): Promise<void> {
        progress.begun = true;
        const chunk = await reads.next();
        if (chunk === null) controller.close();
        else controller.enqueue(chunk);
      },
      cancel: () => reads.settle(),
      // Read only when a chunk is requested: a read of a pipe may block for ever.
    }, { highWaterMark: 0 });
    this.#reads = reads;
    this.#progress = progress;
  }

  override pipeTo(to: WritableStream<Bytes>, options?: StreamPipeOptions): Promise<void> {
    // A read that was begun may still yield a chunk.
    const direct = takers.has(to) && !to.locked && !this.locked && !this.#progress.begun;
    return direct ? this.#direct().pipeTo(to, options) : super.pipeTo(to, options);
  }

  override pipeThrough<Out>(
    pair: ReadableWritablePair<Out, Bytes>,
    options?: StreamPipeOptions,
  ): ReadableStream<Out> {
    if (this.locked || pair.writable.locked) return super.pipeThrough(pair, options);
    // A failure shows in what comes out.
    this.pipeTo(pair.writable, options).catch(() => {});
    return pair.readable;
  }

  /** A stream of one chunk, which ends once that is used up. This one is locked from now on. */
  #direct(): ReadableStream<Bytes> {
    const lock = this.getReader();
    const bytes = new DirectBytes(this.#reads);
    let given = false;
    return new ReadableStream({
      async pull(controller): Promise<void> {
        if (!given) {
          given = true;
          return controller.enqueue(bytes as unknown as Bytes);
        }
        await bytes.ended;
        await lock.cancel();
        controller.close();
      },
      cancel: (reason) => lock.cancel(reason),
    }, { highWaterMark: 0 });
  }
}
