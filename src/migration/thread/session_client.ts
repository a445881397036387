/**
 * Where a session runs: in a Worker, or on the caller's thread.
 */

import type { Kernel } from "../../kernel/kernel.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import type { DriverNote } from "../../vfio/notes/driver_notes.ts";
import type { FilledBatch } from "../../checkpoint/batches/batch_builder.ts";
import {
  type RequestName,
  type Requests,
  type SessionAnswer,
  type SessionRequest,
  transferredBuffer,
} from "./requests.ts";
import { packArgs, unpackValue } from "./posted_bytes.ts";
import { NoteBook, type NoteWatch } from "../notes/note_book.ts";
import { DeviceSession, type OpenOptions } from "./session.ts";
import { SharedCounters } from "./shared_counters.ts";
import { type AnyWorker, startWorker, type Thread, threadOf } from "../../base/thread.ts";
import { unpackError } from "../../base/error_transfer.ts";
import { type DeviceClosedCode, DeviceClosedError } from "../closed_error.ts";
import { MigrationError } from "../migration_error.ts";
import { adoptBuffer, recycle } from "../../checkpoint/batches/buffer_pool.ts";

/** Serves a session's requests, one after the other, in the order they were made. */
export interface SessionClient {
  /** What the driver did against the rules, as far as it was answered. */
  readonly notes: NoteBook;
  /** Whether its device is open, and if not, why. */
  readonly lifetime: ServiceLifetime;
  /** For how long a request has been without an answer, in milliseconds; 0 if there is none. */
  readonly unansweredMs: number;
  /** Asks; the answer is the session's, or its error. */
  request<Name extends RequestName>(
    method: Name,
    ...args: Parameters<Requests[Name]>
  ): Promise<ReturnType<Requests[Name]>>;
  /** Closes the device, once what was asked before is answered, and ends the thread. */
  close(): Promise<void>;
  /** Ends the thread of a device that could not be opened. */
  end(): void;
}

const CLOSED = "it was closed";

/** Whether a device is served. */
export class ServiceLifetime {
  readonly #device: string;
  /** What its thread last said of it. */
  readonly counters: SharedCounters;
  readonly #listeners = new Set<(error: DeviceClosedError) => void>();
  #end: { readonly code: DeviceClosedCode; readonly why: string } | null = null;

  /** A device that is being opened. */
  constructor(device: string, counters: SharedCounters) {
    this.#device = device;
    this.counters = counters;
  }

  /** Whether it is served no longer. */
  get ended(): boolean {
    return this.#end !== null;
  }

  /** From now on it is not; the first reason counts. */
  end(code: DeviceClosedCode, why: string): void {
    if (this.ended) return;
    this.#end = { code, why };
    for (const listener of [...this.#listeners]) listener(this.error());
    this.#listeners.clear();
  }

  /** What a request fails with then; `cause` is what became of it. */
  error(cause?: unknown): DeviceClosedError {
    const { code, why } = this.#end ?? { code: "closed", why: CLOSED };
    const { state: deviceState } = this.counters;
    return new DeviceClosedError(
      `Cannot use ${this.#device}: ${why}; its state was last known to be ${deviceState}`,
      { code, device: this.#device, deviceState },
      cause === undefined ? undefined : { cause },
    );
  }

  /** Tells a listener of the end, once; the answer makes it listen no longer. */
  onEnd(listener: (error: DeviceClosedError) => void): () => void {
    if (this.ended) listener(this.error());
    else this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

/** On the caller's thread, over the caller's Kernel: for tests and for simulated kernels. */
export class InlineSessionClient implements SessionClient {
  readonly notes: NoteBook = new NoteBook();
  readonly lifetime: ServiceLifetime;
  /** The caller cannot look while a request is served. */
  readonly unansweredMs = 0;
  readonly #kernel: Kernel;
  #session: DeviceSession | null = null;

  constructor(lifetime: ServiceLifetime, kernel: Kernel) {
    this.lifetime = lifetime;
    this.#kernel = kernel;
  }

  // deno-lint-ignore require-await -- what the session throws must reject
  async request<Name extends RequestName>(
    method: Name,
    ...args: Parameters<Requests[Name]>
  ): Promise<ReturnType<Requests[Name]>> {
    if (this.lifetime.ended) throw this.lifetime.error();
    if (method === "open") {
      const [name, options, memory] = args as [string, OpenOptions, SharedArrayBuffer];
      this.#session = new DeviceSession(name, options, new SharedCounters(memory), this.#kernel);
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
      if (method === "push") recycle((args[0] as FilledBatch<ArrayBuffer>).bytes.buffer);
      return result;
    } catch (error) {
      const notes = session.takeNotes();
      this.notes.receive(notes);
      throw withNotes(error, notes);
    }
  }

  // deno-lint-ignore require-await -- what the session throws must reject
  async close(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    this.lifetime.end("closed", CLOSED);
    session?.close();
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

interface PendingRequest {
  readonly method: RequestName;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** In a Worker, which has a separate kernel. */
export class WorkerSessionClient implements SessionClient {
  readonly notes: NoteBook = new NoteBook();
  readonly lifetime: ServiceLifetime;
  readonly #thread: Thread<SessionRequest>;
  readonly #waiting: PendingRequest[] = [];
  #dead = false;
  /** When it last answered, or was asked while it had nothing to do. */
  #heardAt = 0;

  constructor(lifetime: ServiceLifetime, worker?: AnyWorker) {
    this.lifetime = lifetime;
    this.#thread = threadOf(worker ?? startWorker(new URL("./device_worker.ts", import.meta.url)), {
      message: (answer: SessionAnswer) => this.#answered(answer),
      ended: (why) => this.#died(why),
    });
  }

  get unansweredMs(): number {
    return this.#waiting.length === 0 ? 0 : performance.now() - this.#heardAt;
  }

  request<Name extends RequestName>(
    method: Name,
    ...args: Parameters<Requests[Name]>
  ): Promise<ReturnType<Requests[Name]>> {
    if (this.lifetime.ended) return Promise.reject(this.lifetime.error());
    return this.#post(method, args) as Promise<ReturnType<Requests[Name]>>;
  }

  #post(method: RequestName, args: readonly unknown[]): Promise<unknown> {
    const message: SessionRequest = { method, args: packArgs(method, args) };
    const buffer = transferredBuffer({ method, args });
    return new Promise((resolve, reject) => {
      const waiting = { method, resolve, reject };
      if (this.#waiting.length === 0) this.#heardAt = performance.now();
      this.#waiting.push(waiting);
      // An idle device keeps no process alive.
      if (this.#waiting.length === 1) this.#thread.keepAlive(true);
      try {
        this.#thread.post(message, buffer === null ? [] : [buffer]);
      } catch (error) {
        // It cannot be sent: no answer will come.
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        if (this.#waiting.length === 0) this.#thread.keepAlive(false);
        reject(error);
      }
    });
  }

  #answered(answer: SessionAnswer): void {
    const waiting = this.#waiting.shift();
    this.#heardAt = performance.now();
    if (this.#waiting.length === 0) this.#thread.keepAlive(false);
    this.notes.receive(answer.notes);
    if (answer.buffer !== null) {
      adoptBuffer(answer.buffer);
      if (!answer.ok || waiting?.method === "push") recycle(answer.buffer);
    }
    if (answer.ok) return waiting?.resolve(unpackValue(waiting.method, answer.value));
    const error = withNotes(unpackError(answer.error), answer.notes);
    // It was cut short on account of the closing.
    const cut = this.lifetime.ended && waiting?.method !== "close";
    waiting?.reject(cut ? this.lifetime.error(error) : error);
  }

  #died(why: string): void {
    if (this.#dead) return;
    this.#dead = true;
    this.lifetime.end("thread-ended", `its thread has ended: ${why}`);
    // Nobody else has them any more; left open they would keep everybody off the device.
    for (const fd of this.lifetime.counters.takeOwnedFds()) closeLeft(fd);
    for (const { method, resolve, reject } of this.#waiting.splice(0)) {
      if (method === "close") resolve(undefined);
      else reject(this.lifetime.error());
    }
  }

  async close(): Promise<void> {
    this.lifetime.end("closed", CLOSED);
    try {
      // A thread that has died has nothing to close any more.
      if (!this.#dead) await this.#post("close", []);
    } finally {
      this.end();
    }
  }

  end(): void {
    this.#dead = true;
    this.#thread.terminate();
    for (const { reject } of this.#waiting.splice(0)) reject(this.lifetime.error());
  }
}

function closeLeft(fd: number): void {
  try {
    libcKernel().close(fd);
  } catch {
    // It is closed all the same: close(2) reports what had been written before.
  }
}

const clients = new WeakMap<object, SessionClient>();

/** Ties a device to its client, where its users cannot see it. */
export function bindClient(device: object, client: SessionClient): void {
  clients.set(device, client);
}

function clientOf(device: object): SessionClient {
  const client = clients.get(device);
  if (client === undefined) throw new TypeError("Cannot use a device that openDevice did not open");
  return client;
}

/** Tells a listener, once, that a device was closed or its thread has ended; the answer ends that. */
export function onClosed(
  device: object,
  listener: (error: DeviceClosedError) => void,
): () => void {
  return clientOf(device).lifetime.onEnd(listener);
}

/** Collects what a device's driver does against the rules, from now on. */
export function watchNotes(device: object): NoteWatch {
  return clientOf(device).notes.watch();
}

/** Whether a device is served on a separate thread, so that a slow call does not block the caller. */
export function hasThread(device: object): boolean {
  return clients.get(device) instanceof WorkerSessionClient;
}

/** Asks a device's session. */
export function ask<Name extends RequestName>(
  device: object,
  method: Name,
  ...args: Parameters<Requests[Name]>
): Promise<ReturnType<Requests[Name]>> {
  return clientOf(device).request(method, ...args);
}
