/**
 * Where a session runs: in a Worker, or on the caller's thread.
 */

import type { Kernel } from "../kernel/kernel.ts";
import type { DriverNote } from "../vfio/driver_notes.ts";
import type { Batch } from "./_batch.ts";
import {
  type Answer,
  type Request,
  type RequestName,
  type Requests,
  travellingBuffer,
} from "./_protocol.ts";
import { NoteBook, type NoteWatch } from "./_note_book.ts";
import { type OpenOptions, Session } from "./_session.ts";
import { SharedCounters } from "./_shared_counters.ts";
import { unpackError } from "./_wire.ts";
import { MigrationError } from "./error.ts";
import { adoptBuffer, recycle } from "./pool.ts";

/** Serves a session's requests, one after the other, in the order they were made. */
export interface Host {
  /** What the driver did against the rules, as far as it was answered. */
  readonly notes: NoteBook;
  /** Asks; the answer is the session's, or its error. */
  request<Name extends RequestName>(
    method: Name,
    ...args: Parameters<Requests[Name]>
  ): Promise<ReturnType<Requests[Name]>>;
  /** Ends the thread. */
  end(): void;
}

/** On the caller's thread, over the caller's Kernel: for tests and for simulated kernels. */
export class InlineHost implements Host {
  readonly notes: NoteBook = new NoteBook();
  readonly #kernel: Kernel;
  #session: Session | null = null;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  // deno-lint-ignore require-await -- what the session throws must reject
  async request<Name extends RequestName>(
    method: Name,
    ...args: Parameters<Requests[Name]>
  ): Promise<ReturnType<Requests[Name]>> {
    if (method === "open") {
      const [name, options, memory] = args as [string, OpenOptions, SharedArrayBuffer];
      this.#session = new Session(name, options, new SharedCounters(memory), this.#kernel);
      this.notes.receive(this.#session.takeNotes());
      return this.#session.description as ReturnType<Requests[Name]>;
    }
    const session = this.#session;
    if (session === null) throw new Error(`Cannot ask for "${method}": no device is open`);
    const call = session[method as Exclude<RequestName, "open">] as (
      ...args: readonly unknown[]
    ) => ReturnType<Requests[Name]>;
    try {
      const result = call.apply(session, args);
      this.notes.receive(session.takeNotes());
      if (method === "push") recycle((args[0] as Batch).bytes.buffer);
      return result;
    } catch (error) {
      const notes = session.takeNotes();
      this.notes.receive(notes);
      throw withNotes(error, notes);
    }
  }

  end(): void {
    this.#session = null;
  }
}

/** Lets an error tell what the driver did, too. */
function withNotes(error: unknown, notes: readonly DriverNote[]): unknown {
  if (error instanceof MigrationError) error.notes = notes;
  return error;
}

interface Waiting {
  readonly method: RequestName;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** In a Worker, which has a kernel of its own. */
export class WorkerHost implements Host {
  readonly notes: NoteBook = new NoteBook();
  readonly #worker: Worker;
  readonly #waiting: Waiting[] = [];
  #dead: Error | null = null;

  constructor(worker?: Worker) {
    this.#worker = worker ??
      new Worker(new URL("./_worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = (event: MessageEvent<Answer>) => {
      const waiting = this.#waiting.shift();
      const answer = event.data;
      this.notes.receive(answer.notes);
      if (answer.buffer !== null) {
        adoptBuffer(answer.buffer);
        if (!answer.ok || waiting?.method === "push") recycle(answer.buffer);
      }
      if (answer.ok) waiting?.resolve(answer.value);
      else waiting?.reject(withNotes(unpackError(answer.error), answer.notes) as Error);
    };
    this.#worker.onerror = (event: ErrorEvent) => {
      event.preventDefault();
      this.#dead = new Error(`The device's thread has ended: ${event.message}`);
      for (const { reject } of this.#waiting.splice(0)) reject(this.#dead);
    };
  }

  request<Name extends RequestName>(
    method: Name,
    ...args: Parameters<Requests[Name]>
  ): Promise<ReturnType<Requests[Name]>> {
    if (this.#dead !== null) return Promise.reject(this.#dead);
    const message: Request = { method, args };
    const buffer = travellingBuffer(message);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ method, resolve: resolve as (value: unknown) => void, reject });
      this.#worker.postMessage(message, buffer === null ? [] : [buffer]);
    });
  }

  end(): void {
    this.#worker.terminate();
  }
}

const hosts = new WeakMap<object, Host>();

/** Ties a device to its host, where its users cannot see it. */
export function bindHost(device: object, host: Host): void {
  hosts.set(device, host);
}

/** Collects what a device's driver does against the rules, from now on. */
export function watchNotes(device: object): NoteWatch {
  return hosts.get(device)!.notes.watch();
}

/** Whether a device is served on a thread of its own: what takes long then stops nobody. */
export function hasThread(device: object): boolean {
  return hosts.get(device) instanceof WorkerHost;
}

/** Asks a device's session. */
export function ask<Name extends RequestName>(
  device: object,
  method: Name,
  ...args: Parameters<Requests[Name]>
): Promise<ReturnType<Requests[Name]>> {
  return hosts.get(device)!.request(method, ...args);
}
