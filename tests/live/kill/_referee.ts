/**
 * Looks at both devices from where they are served: out of the trace of all calls to them, when
 * each was running.
 */

import * as fs from "node:fs";

const RUNNING = new Set(["running", "running-p2p", "pre-copy", "pre-copy-p2p"]);

/** A call, as far as it matters here. Times are microseconds. */
interface Call {
  readonly type: "call";
  readonly thread: number;
  readonly time: number;
  readonly duration: number;
  readonly request?: string;
  readonly register?: string;
  readonly call: string;
  readonly args?: { readonly operation?: unknown };
  readonly state?: string;
  readonly errno?: string;
}

/** A stretch of time in which a device may have been running. */
export interface Span {
  readonly from: number;
  /** Infinity while it goes on. */
  readonly to: number;
}

/** One device. */
export class Watched {
  readonly spans: Span[] = [];
  /** Whether it has been given the state of another device. */
  loaded = false;
  #from: number | null;
  readonly #always: boolean;

  /** `always`: whether its own state counts, and not only one that it was given. */
  constructor(always: boolean) {
    this.#always = always;
    this.#from = always ? 0 : null;
  }

  /** Whether it may be running with the state that was migrated. */
  get running(): boolean {
    return this.#from !== null;
  }

  /** The time in which it may have been running: from the request to run to the end of one to stop. */
  get all(): readonly Span[] {
    return this.#from === null ? this.spans : [...this.spans, { from: this.#from, to: Infinity }];
  }

  call(call: Call): void {
    const ended = call.time + call.duration;
    if (call.request === "VFIO_DEVICE_RESET" && call.errno === undefined) {
      this.#stop(ended);
      this.loaded = false;
      if (this.#always) this.#from = call.time;
      return;
    }
    if (call.state === undefined) return;
    if (call.state === "resuming") this.loaded = true;
    const counts = this.#always || this.loaded;
    if (RUNNING.has(call.state)) {
      // A step that failed may have let it run all the same.
      if (counts) this.#from ??= call.time;
    } else if (call.errno === undefined) this.#stop(ended);
  }

  #stop(ended: number): void {
    if (this.#from === null) return;
    this.spans.push({ from: this.#from, to: ended });
    this.#from = null;
  }
}

/** Reads a trace while it is written. */
export class Referee {
  readonly source = new Watched(true);
  readonly destination = new Watched(false);
  readonly #path: string;
  #offset = 0;
  #rest = "";
  readonly #threads = new Map<number, Watched>();

  constructor(path: string) {
    this.#path = path;
  }

  /** Takes the calls that were made since the last look. */
  look(): void {
    const bytes = fs.readFileSync(this.#path).subarray(this.#offset);
    this.#offset += bytes.length;
    const lines = (this.#rest + new TextDecoder().decode(bytes)).split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) {
      const event = JSON.parse(line);
      if (event.type === "thread") {
        // The source's device is opened first.
        const watched = this.#threads.size === 0 ? this.source : this.destination;
        this.#threads.set(event.thread, watched);
      }
      if (event.type === "call") this.#threads.get(event.thread)!.call(event);
    }
  }

  /** The first time at which both may have been running; null if there is none. */
  get bothAt(): number | null {
    for (const one of this.source.all) {
      for (const other of this.destination.all) {
        const from = Math.max(one.from, other.from);
        if (from < Math.min(one.to, other.to)) return from;
      }
    }
    return null;
  }
}
