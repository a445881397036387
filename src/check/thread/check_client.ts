/**
 * Where checks run: in a Worker, or on the caller's thread.
 */

import { ThreadError } from "../../base/thread_error.ts";
import { Worker as NodeWorker } from "node:worker_threads";
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
  readonly #post: (request: CheckRequest) => void;
  readonly #terminate: () => void;
  /** Says whether the process has to wait for the thread. */
  readonly #keepAlive: (alive: boolean) => void;
  #waiting: PromiseWithResolvers<unknown> | null = null;

  /** Starts the Worker. */
  constructor() {
    const url = new URL("./check_worker.ts", import.meta.url);
    // Deno's Web Workers keep the process alive; Bun's answer sooner than its others.
    if ("Deno" in globalThis) {
      const worker = new NodeWorker(url);
      worker.on("message", (reply: CheckReply) => this.#settle(reply));
      worker.on("error", (error: unknown) => this.#fail((error as Error).message, error));
      worker.on("exit", () => this.#fail("the thread has ended"));
      this.#keepAlive = (alive): void => void (alive ? worker.ref() : worker.unref());
      this.#keepAlive(false);
      this.#post = (request): void => worker.postMessage(request);
      this.#terminate = (): void => void worker.terminate();
      return;
    }
    const worker = new Worker(url, { type: "module" }) as Worker & { ref?(): void; unref?(): void };
    this.#keepAlive = (alive): void => alive ? worker.ref?.() : worker.unref?.();
    this.#keepAlive(false);
    worker.onmessage = ({ data }: MessageEvent<CheckReply>): void => this.#settle(data);
    worker.onerror = (event: ErrorEvent): void => {
      event.preventDefault();
      this.#fail(event.message);
    };
    this.#post = (request): void => worker.postMessage(request);
    this.#terminate = (): void => worker.terminate();
  }

  request(request: CheckRequest): Promise<unknown> {
    this.#waiting = Promise.withResolvers();
    this.#keepAlive(true);
    this.#post(request);
    return this.#waiting.promise;
  }

  #settle(reply: CheckReply): void {
    if ("value" in reply) this.#waiting?.resolve(reply.value);
    else this.#waiting?.reject(unpackError(reply.error));
    this.#waiting = null;
    this.#keepAlive(false);
  }

  #fail(why: string, cause?: unknown): void {
    this.#waiting?.reject(new ThreadError(`Cannot go on checking: ${why}`, { cause }));
    this.#waiting = null;
  }

  end(): void {
    this.#waiting = null;
    this.#keepAlive(false);
    this.#terminate();
  }
}
