/**
 * Where checks run: in a Worker, or on the caller's thread.
 */

import { startWorker, type Thread, threadOf } from "../../base/thread.ts";
import { ThreadError } from "../../base/thread_error.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { registerErrorClass, unpackError } from "../../base/error_transfer.ts";
import { CheckError } from "../check_error.ts";
import { type CheckReply, type CheckRequest, CheckService } from "./requests.ts";

registerErrorClass(CheckError);

/** Serves requests, one after the other. */
export interface CheckClient {
  /** Asks; the answer is the service's, or its error. */
  request(request: CheckRequest): Promise<unknown>;
  /** Ends the thread. */
  end(): void;
}

/** On the caller's thread, over the caller's kernel. */
export class InlineCheckClient implements CheckClient {
  readonly #service: CheckService;

  /** Opens devices on `kernel`; checks wait by `wait`. */
  constructor(kernel: Kernel, wait?: (milliseconds: number) => void) {
    this.#service = new CheckService(kernel, wait);
  }

  request(request: CheckRequest): Promise<unknown> {
    return this.#service.answer(request);
  }

  end(): void {
    // There is no thread.
  }
}

/** In a Worker. */
export class WorkerCheckClient implements CheckClient {
  readonly #thread: Thread<CheckRequest>;
  #waiting: PromiseWithResolvers<unknown> | null = null;
  /** What every request fails with once the thread has ended by itself. */
  #ended: ThreadError | null = null;

  /** Starts the Worker. */
  constructor() {
    this.#thread = threadOf(startWorker(new URL("./check_worker.ts", import.meta.url)), {
      message: (reply: CheckReply) => this.#settle(reply),
      ended: (why) => this.#fail(why),
    });
  }

  request(request: CheckRequest): Promise<unknown> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    this.#waiting = Promise.withResolvers();
    this.#thread.keepAlive(true);
    this.#thread.post(request);
    return this.#waiting.promise;
  }

  #settle(reply: CheckReply): void {
    if ("value" in reply) this.#waiting?.resolve(reply.value);
    else this.#waiting?.reject(unpackError(reply.error));
    this.#waiting = null;
    this.#thread.keepAlive(false);
  }

  #fail(why: string): void {
    this.#ended ??= new ThreadError(`Cannot go on checking: the thread has ended: ${why}`);
    this.#waiting?.reject(this.#ended);
    this.#waiting = null;
  }

  end(): void {
    this.#waiting = null;
    this.#thread.keepAlive(false);
    this.#thread.terminate();
  }
}
