/**
 * Runs one command line after the other in one process: a hundred times as quick as a process for
 * each. What is asked for comes as lines of JSON on stdin, its end is told on stderr; stdout is the
 * commands' own.
 */

import * as fs from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { run } from "../../cli/run.ts";
import { Interrupted, type SignalName } from "../../cli/signals.ts";

/** A command line to run. */
export interface Request {
  readonly words: readonly string[];
  /** The signal that ends it, after so many milliseconds. */
  readonly signal: SignalName;
  readonly after: number;
}

/** Begins the line on stderr that tells of a command's end. */
export const ENDED = "\u0000ended ";

async function serve({ words, signal, after }: Request): Promise<void> {
  const abort = new AbortController();
  let diverted: ((name: SignalName) => void) | null = null;
  const timer = setTimeout(() => {
    if (diverted === null) abort.abort(new Interrupted(signal));
    else diverted(signal);
  }, after);
  let ended: unknown;
  try {
    const exitCode = await run(words, "0.0.0", {
      signal: abort.signal,
      divert(handler): () => void {
        diverted = handler;
        return () => {
          diverted = null;
        };
      },
    });
    ended = { exitCode };
  } catch (error) {
    ended = { thrown: error instanceof Error ? error.stack ?? error.message : String(error) };
  } finally {
    clearTimeout(timer);
  }
  fs.writeSync(2, `${ENDED}${JSON.stringify(ended)}\n`);
}

if (import.meta.main) {
  for (const name of ["unhandledRejection", "uncaughtException"] as const) {
    process.on(name, (error: unknown) => {
      const thrown = error instanceof Error ? error.stack ?? error.message : String(error);
      fs.writeSync(2, `${ENDED}${JSON.stringify({ thrown })}\n`);
    });
  }
  for await (const line of createInterface({ input: process.stdin })) {
    await serve(JSON.parse(line) as Request);
  }
  process.exit(0);
}
