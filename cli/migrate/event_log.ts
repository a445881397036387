/**
 * What happens in a migration, as JSON Lines in a file (`--events`).
 *
 * @module
 */

import type { MigrateProgress, ReceiveProgress } from "../../src/live/mod.ts";
import { type Context, json } from "../context.ts";
import { JsonFile } from "../output/json_file.ts";

/** The schema of each line. */
const SCHEMA = "vfiokit/migration-event/1";

/** A file of events. It is opened at once; later on, a full disk ends the file and nothing else. */
class EventLog implements Disposable {
  readonly #file: JsonFile;
  readonly #context: Context;
  readonly #begun = performance.now();
  readonly #warnings = new Set<string>();
  #phase: string | null = null;
  #rounds = 0;
  #failed = false;

  /**
   * Begins a file, with an event `begin`.
   *
   * @throws {Error} If it cannot be written.
   */
  constructor(path: string, side: "source" | "destination", context: Context) {
    this.#file = new JsonFile(path);
    this.#context = context;
    const time = new Date().toISOString();
    this.#file.write(json({ schema: SCHEMA, type: "begin", ms: 0, side, time }) + "\n");
  }

  #add(type: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.#failed) return;
    const ms = Math.round(performance.now() - this.#begun);
    try {
      this.#file.write(json({ schema: SCHEMA, type, ms, ...fields }) + "\n");
    } catch (error) {
      // The migration is worth more than what is written about it.
      this.#failed = true;
      this.#context.note(`${(error as Error).message}; there are no more events`);
    }
  }

  /** Adds what is new: warnings, rounds, the phase. */
  tell(progress: MigrateProgress | ReceiveProgress): void {
    const { phase, id, bytes } = progress;
    if ("rounds" in progress) {
      for (const text of progress.warnings) {
        if (!this.#warnings.has(text)) this.#add("warning", { text });
        this.#warnings.add(text);
      }
      for (; this.#rounds < progress.rounds.length; this.#rounds++) {
        const { expectedDowntimeMs, bandwidth } = progress;
        const round = { number: this.#rounds + 1, ...progress.rounds[this.#rounds] };
        this.#add("round", { ...round, bandwidth, expectedDowntimeMs });
      }
    }
    if (phase === this.#phase) return;
    this.#phase = phase;
    this.#add("phase", { phase, id, bytes });
  }

  /** Adds that it failed. */
  fail(error: unknown): void {
    const { code = null, message } = error as Error & { code?: string };
    this.#add("failed", { message, code });
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/**
 * Does work that says what happens; what it throws is an event, too.
 *
 * @param path The file; undefined for none.
 */
export async function withEvents<Value>(
  { path, side, context }: {
    readonly path: string | undefined;
    readonly side: "source" | "destination";
    readonly context: Context;
  },
  work: (tell: EventLog["tell"]) => Promise<Value>,
): Promise<Value> {
  if (path === undefined) return await work(() => {});
  using events = new EventLog(path, side, context);
  try {
    return await work((progress) => events.tell(progress));
  } catch (error) {
    events.fail(error);
    throw error;
  }
}
