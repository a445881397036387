/**
 * Progress on stderr: a line that is redrawn on a terminal, a line each second elsewhere.
 *
 * @module
 */

import process from "node:process";
import type { CheckpointSource } from "../../src/checkpoint/mod.ts";
import type { ChainProgress } from "../../src/live/mod.ts";
import type { CheckpointSink, Device, Progress } from "../../mod.ts";
import { printable } from "../../src/base/printable.ts";
import type { Context } from "../context.ts";
import { canDraw } from "../env.ts";
import { progressLine, progressText, type Shown, silentSeconds } from "./progress_line.ts";
import { drawStatus, STDERR, writeText } from "./stdio.ts";

/** Milliseconds between two updates: a terminal is redrawn ten times a second. */
const TERMINAL_MS = 100;
const LINES_MS = 1000;

/** The rate is that of the last two seconds. */
const WINDOW_MS = 2000;

/** The width of a terminal that does not say its own. */
const COLUMNS = 80;

/** Columns that stay free on the right: a terminal puts its ^C there. */
const FREE = 3;

/** The progress of one or several devices, with the state as text. */
export interface JointProgress extends Omit<Progress, "state"> {
  /** The state, or the states; empty if no device takes part. */
  readonly state: string;
}

/** The progress of several devices together. */
export function together(devices: readonly Device[]): JointProgress {
  const all = devices.map((device) => device.progress());
  const states = new Map<string, number>();
  for (const { state } of all) states.set(state, (states.get(state) ?? 0) + 1);
  const known = all.filter(({ pendingBytes }) => pendingBytes !== null);
  return {
    state: states.size === 1
      ? all[0]!.state
      : [...states].map(([state, devices]) => `${devices} in ${state}`).join(", "),
    pendingBytes: known.length === 0
      ? null
      : known.reduce((sum, { pendingBytes }) => sum + pendingBytes!, 0),
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    transactions: all.reduce((sum, { transactions }) => sum + transactions, 0),
    unansweredMs: Math.max(...all.map(({ unansweredMs }) => unansweredMs)),
  };
}

/** The progress of work on a file, in which no device takes part. */
export function fileProgress(
  bytes: number,
  { state = "", pendingBytes = null }: Partial<Pick<JointProgress, "state" | "pendingBytes">> = {},
): JointProgress {
  return { state, pendingBytes, bytes, transactions: 0, unansweredMs: 0 };
}

/** Where the reading back of a file is; null before it begins. */
export function readingBack({ readBack }: CheckpointSink): JointProgress | null {
  const progress = readBack?.progress ?? null;
  if (progress === null) return null;
  const { bytes, total } = progress;
  return fileProgress(bytes, { state: "reading back", pendingBytes: total - bytes });
}

/** What is shown: the progress of a phase, and its total if known. */
export interface Measured {
  /** What is done: `Saving`. */
  readonly verb: string;
  /** What it is done to. */
  readonly name: string;
  /** Returns the progress now. */
  readonly now: () => JointProgress;
  /** Total bytes; without it, the driver's pending bytes are used. */
  readonly total?: number | undefined;
}

/** Draws progress until it is disposed. */
export function showProgress(measured: Measured, context: Context): Disposable {
  const meter = new ProgressMeter(measured, () => performance.now());
  return redraw((columns) => {
    const shown = meter.sample();
    return [columns === null ? progressText(shown) : progressLine(shown, columns)];
  }, context);
}

/** Whether progress is redrawn in its place; else it is lines, one after the other. */
export function redraws(): boolean {
  return canDraw(process.stderr);
}

/**
 * Draws lines until it is disposed; nothing with `--quiet`.
 *
 * @param look Returns the lines for a terminal of so many columns, or, for null, for elsewhere.
 */
export function redraw(look: (columns: number | null) => string[], context: Context): Disposable {
  if (context.quiet) return { [Symbol.dispose](): void {} };
  const terminal = redraws();
  const again = (): void => {
    if (terminal) drawStatus(...look((process.stderr.columns || COLUMNS) - FREE));
    else for (const line of look(null)) writeText(STDERR, `${line}\n`);
  };
  const timer = setInterval(again, terminal ? TERMINAL_MS : LINES_MS);
  return {
    [Symbol.dispose](): void {
      clearInterval(timer);
      if (terminal) drawStatus();
    },
  };
}

/** Draws progress at a terminal alone, and not with `--json`. */
export function showAtTerminal(measured: Measured, context: Context): Disposable {
  if (context.json || !redraws()) return { [Symbol.dispose](): void {} };
  return showProgress(measured, context);
}

/** A file that is read from its start to its end. */
export interface ReadFile {
  /** What is done: `Verifying`. */
  readonly verb: string;
  /** Its name, or `-`. */
  readonly file: string;
  /** The opened file. */
  readonly source: Pick<CheckpointSource, "size">;
}

/**
 * Draws at a terminal how far a file was read while it is read.
 *
 * @param read Reads it, and says at times how many bytes it has read.
 */
export async function whileReading<Value>(
  { verb, file, source: { size } }: ReadFile,
  context: Context,
  read: (at: (bytes: number) => void) => Promise<Value>,
): Promise<Value> {
  let bytes = 0;
  using _progress = showAtTerminal({
    verb,
    name: file === "-" ? "stdin" : file,
    now: () => fileProgress(bytes),
    total: size ?? undefined,
  }, context);
  return await read((at) => bytes = at);
}

/**
 * Draws at a terminal how far the files of a folder were read while they are read.
 *
 * @param read Reads them, and says at times how far it is.
 */
export async function whileReadingFolder<Value>(
  { verb, name }: Pick<Measured, "verb" | "name">,
  context: Context,
  read: (at: (progress: ChainProgress) => void) => Promise<Value>,
): Promise<Value> {
  let progress: ChainProgress = { storedBytes: 0, totalBytes: 0 };
  using _progress = showAtTerminal({
    verb,
    name,
    now: () => fileProgress(progress.storedBytes),
    get total() {
      return progress.totalBytes;
    },
  }, context);
  return await read((at) => progress = at);
}

/** Measures the rate of the last two seconds. */
export class RateMeter {
  readonly #clock: () => number;
  #samples: { readonly at: number; readonly bytes: number }[];

  /** Begins at 0 bytes, by a clock in milliseconds. */
  constructor(clock: () => number) {
    this.#clock = clock;
    this.#samples = [{ at: clock(), bytes: 0 }];
  }

  /** The bytes per second, after so many bytes. */
  rate(bytes: number): number {
    const at = this.#clock();
    // The next phase counts from 0 again.
    if (bytes < this.#samples.at(-1)!.bytes) this.#samples = [{ at, bytes: 0 }];
    this.#samples.push({ at, bytes });
    while (this.#samples.length > 2 && at - this.#samples[0]!.at > WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0]!;
    return at === first.at ? 0 : (bytes - first.bytes) / ((at - first.at) / 1000);
  }
}

/** Makes rates and estimates of what is measured from time to time. */
export class ProgressMeter {
  readonly #measured: Measured;
  readonly #rate: RateMeter;

  /** Begins at 0 bytes, by a clock in milliseconds. */
  constructor(measured: Measured, clock: () => number) {
    this.#measured = measured;
    this.#rate = new RateMeter(clock);
  }

  /** Measures now. */
  sample(): Shown {
    const { verb, name, now, total } = this.#measured;
    const { state, bytes, pendingBytes, unansweredMs } = now();
    const rate = this.#rate.rate(bytes);
    const rest = total === undefined ? pendingBytes : Math.max(0, total - bytes);
    return {
      verb,
      name: printable(name),
      state,
      bytes,
      pendingBytes,
      part: rest === null ? null : bytes + rest === 0 ? 0 : bytes / (bytes + rest),
      rate,
      secondsLeft: rest === null || rate === 0 ? null : rest / rate,
      silentSeconds: silentSeconds(unansweredMs),
    };
  }
}
