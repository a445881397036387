/**
 * Compresses the memory of one stream on a thread of its own: this takes longer than all else that is
 * done with it, and several streams do it at the same time.
 */

import { startWorker, type Thread, threadOf } from "../../base/thread.ts";
import { ThreadError } from "../../base/thread_error.ts";

/** What the thread is asked to do; its buffers go along. */
export interface ZstdRequest {
  /** Where the content is, or goes to. */
  readonly slot: ArrayBuffer;
  /** Where in the slot. */
  readonly at: number;
  /** Its bytes. */
  readonly length: number;
  /** A zstd frame of the content; null to make one. */
  readonly packed: ArrayBuffer | null;
  /** Its bytes. */
  readonly packedLength: number;
}

/** What it answers; the buffers come back. */
export interface ZstdAnswer {
  /** The slot. */
  readonly slot: ArrayBuffer;
  /** The zstd frame; null if that would not be worth it. */
  readonly packed: ArrayBuffer | null;
  /** Whether there is what was asked for. */
  readonly done: boolean;
}

/** A part of a slot. */
export type SlotPart = Pick<ZstdRequest, "slot" | "at" | "length">;

/** A thread. */
export class ZstdThread implements Disposable {
  readonly #thread: Thread<ZstdRequest>;
  /** Who waits for an answer, in the order of the requests. */
  readonly #waiting: PromiseWithResolvers<ZstdAnswer>[] = [];
  /** Why it answers no more. */
  #failure: Error | null = null;

  /** Starts it. */
  constructor() {
    const worker = startWorker(new URL("./zstd_worker.ts", import.meta.url));
    this.#thread = threadOf<ZstdRequest, ZstdAnswer>(worker, {
      message: (answer) => this.#waiting.shift()!.resolve(answer),
      ended: (why) => this.#end(`The zstd thread has ended: ${why}`),
    });
  }

  /** Compresses content; `packed` is null if that saves less than a tenth. The slot comes back. */
  async compress(part: SlotPart): Promise<Pick<ZstdAnswer, "slot" | "packed">> {
    return await this.#ask({ ...part, packed: null, packedLength: 0 });
  }

  /** Decompresses to a slot; `done` says whether it was one zstd frame of just that many bytes. */
  async decompress(packed: Uint8Array<ArrayBuffer>, part: SlotPart): Promise<
    ZstdAnswer & { readonly packed: ArrayBuffer }
  > {
    const request = { ...part, packed: packed.buffer, packedLength: packed.length };
    return await this.#ask(request) as ZstdAnswer & { readonly packed: ArrayBuffer };
  }

  #ask(request: ZstdRequest): Promise<ZstdAnswer> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const waiting = Promise.withResolvers<ZstdAnswer>();
    this.#waiting.push(waiting);
    const { slot, packed } = request;
    this.#thread.post(request, packed === null ? [slot] : [slot, packed]);
    return waiting.promise;
  }

  #end(why: string): void {
    this.#failure ??= new ThreadError(why);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }

  /** Ends it; what it was asked to do fails. */
  [Symbol.dispose](): void {
    this.#end("The zstd thread was ended");
    this.#thread.terminate();
  }
}
