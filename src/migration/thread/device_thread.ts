/**
 * A Worker of either kind, as a session client uses it.
 *
 * A thread of our own must not keep an idle process alive. Deno's Web Workers have no `unref`, and
 * its `node:worker_threads` do; Bun's Web Workers have one too, and answer sooner than its others.
 */

import { Worker as NodeWorker } from "node:worker_threads";
import type { Answer, Request } from "./requests.ts";

/** A Web Worker, or one of `node:worker_threads`. */
export type AnyWorker = Worker | NodeWorker;

/** What comes from a thread. */
export interface ThreadEvents {
  /** An answer. */
  message(answer: Answer): void;
  /** Its end, which nobody here has asked for. */
  ended(why: string): void;
}

/** A thread. */
export interface Thread {
  /** Sends a request. */
  post(request: Request, transfer: ArrayBuffer[]): void;
  /** Says whether the process has to wait for it; where its kind has no such switch, it does. */
  keepAlive(alive: boolean): void;
  /** Ends it. */
  terminate(): void;
}

/**
 * What V8 may use for objects that are new, in MiB. Left to itself it lets that grow to 16 and more
 * in each thread, which a thread that makes few objects gains nothing by.
 */
const YOUNG_GENERATION_MIB = 1;

/** Takes a Worker over, or starts one. */
export function startThread(worker: AnyWorker | undefined, events: ThreadEvents): Thread {
  const taken = worker ?? startWorker(new URL("./device_worker.ts", import.meta.url));
  return taken instanceof NodeWorker ? nodeThread(taken, events) : webThread(taken, events);
}

/** Starts a Worker of the kind that a device gets by itself. */
export function startWorker(url: URL): AnyWorker {
  return "Deno" in globalThis
    ? new NodeWorker(url, { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB } })
    : new Worker(url, { type: "module" });
}

function nodeThread(worker: NodeWorker, events: ThreadEvents): Thread {
  worker.on("message", (answer: Answer) => events.message(answer));
  worker.on("messageerror", (error: Error) => events.ended(error.message));
  worker.on("error", (error: unknown) => events.ended(reason((error as Error).message)));
  worker.on("exit", (code: number) => events.ended(`it exited with code ${code}`));
  return {
    post: (request, transfer) => worker.postMessage(request, transfer),
    keepAlive: (alive) => alive ? worker.ref() : worker.unref(),
    terminate: () => void worker.terminate(),
  };
}

/** Bun's have more than the standard. */
type WebWorker = Worker & { ref?(): void; unref?(): void };

function webThread(worker: WebWorker, events: ThreadEvents): Thread {
  worker.onmessage = (event: MessageEvent<Answer>) => events.message(event.data);
  worker.onmessageerror = () => events.ended("a message of it cannot be read");
  worker.onerror = (event: ErrorEvent) => {
    event.preventDefault();
    events.ended(reason(event.message));
  };
  worker.addEventListener("close", () => events.ended("it has exited"));
  // Deno tells nobody that a Web Worker was terminated.
  const terminate = worker.terminate.bind(worker);
  worker.terminate = (): void => {
    terminate();
    events.ended("it was terminated");
  };
  return {
    post: (request, transfer) => worker.postMessage(request, transfer),
    keepAlive: (alive) => alive ? worker.ref?.() : worker.unref?.(),
    terminate,
  };
}

/** Without the lines of source that Bun puts around it. */
function reason(message: string): string {
  return /^error: (.*)$/m.exec(message)?.[1] ?? message;
}
