/**
 * A Worker of either kind, from outside and from inside.
 *
 * A thread of our own must not keep an idle process alive. Deno's Web Workers have no `unref`, and
 * its `node:worker_threads` do; Bun's Web Workers have one too, and answer sooner than its others.
 */

import { clearImmediate, setImmediate } from "node:timers";
import { parentPort, Worker as NodeWorker } from "node:worker_threads";

/** A Web Worker, or one of `node:worker_threads`. */
export type AnyWorker = Worker | NodeWorker;

/** What comes from a thread. */
export interface ThreadEvents<Answer> {
  /** An answer. */
  message(answer: Answer): void;
  /** Its end, which nobody here has asked for. */
  ended(why: string): void;
}

/** A thread. */
export interface Thread<Request> {
  /** Sends a request. */
  post(request: Request, transfer?: ArrayBuffer[]): void;
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

/** Takes a Worker over. */
export function threadOf<Request, Answer>(
  worker: AnyWorker,
  events: ThreadEvents<Answer>,
): Thread<Request> {
  return worker instanceof NodeWorker ? nodeThread(worker, events) : webThread(worker, events);
}

/** Starts a Worker of the kind that is best here, for a thread that makes few objects. */
export function startWorker(url: URL): AnyWorker {
  return "Deno" in globalThis
    ? new NodeWorker(url, { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB } })
    : new Worker(url, { type: "module" });
}

function nodeThread<Request, Answer>(
  worker: NodeWorker,
  events: ThreadEvents<Answer>,
): Thread<Request> {
  worker.on("message", (answer: Answer) => events.message(answer));
  worker.on("messageerror", (error: Error) => events.ended(error.message));
  worker.on("error", (error: unknown) => events.ended(reason((error as Error).message)));
  worker.on("exit", (code: number) => events.ended(`it exited with code ${code}`));
  return {
    post: (request, transfer = []) => worker.postMessage(request, transfer),
    keepAlive: (alive) => alive ? worker.ref() : worker.unref(),
    terminate: () => void worker.terminate(),
  };
}

/** Bun's have more than the standard. */
type WebWorker = Worker & { ref?(): void; unref?(): void };

function webThread<Request, Answer>(
  worker: WebWorker,
  events: ThreadEvents<Answer>,
): Thread<Request> {
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
    post: (request, transfer = []) => worker.postMessage(request, transfer),
    keepAlive: (alive) => alive ? worker.ref?.() : worker.unref?.(),
    terminate,
  };
}

/** Without the lines of source that Bun puts around it. */
function reason(message: string): string {
  return /^error: (.*)$/m.exec(message)?.[1] ?? message;
}

/** The thread that started this one. */
export interface Parent<Answer> {
  /** Sends an answer. */
  post(answer: Answer, transfer?: ArrayBuffer[]): void;
}

interface WorkerScope<Request, Answer> {
  onmessage: ((event: MessageEvent<Request>) => void) | null;
  postMessage(message: Answer, transfer: ArrayBuffer[]): void;
}

/**
 * Ends a thread that was cut short in a request. Deno does so to a Worker with limits that cannot
 * have memory: nothing is thrown, not even a `finally` runs, and no message comes in any more.
 */
function cutShort(): void {
  throw new Error("it is out of memory");
}

/** Receives the requests to the Worker of either kind that this is called in. */
export function serveParent<Request, Answer>(
  serve: (request: Request, parent: Parent<Answer>) => void,
): void {
  if (parentPort !== null) {
    const port = parentPort;
    const parent: Parent<Answer> = {
      post: (answer, transfer = []) => port.postMessage(answer, transfer),
    };
    port.on("message", (request: Request) => {
      const unlessServed = setImmediate(cutShort);
      try {
        serve(request, parent);
      } finally {
        clearImmediate(unlessServed);
      }
    });
    return;
  }
  const scope = globalThis as unknown as WorkerScope<Request, Answer>;
  const parent: Parent<Answer> = {
    post: (answer, transfer = []) => scope.postMessage(answer, transfer),
  };
  scope.onmessage = ({ data }): void => serve(data, parent);
}
