/**
 * Progress on stderr: a bar on a terminal, a line each second elsewhere.
 *
 * @module
 */

import type { SingleBar } from "cli-progress";
import process from "node:process";
import type { Device, Progress } from "../../mod.ts";
import type { Context } from "../context.ts";
import { canDraw } from "../env.ts";
import { bytes, rate } from "./format.ts";
import { STDERR, writeText } from "./stdio.ts";

/** Milliseconds between two updates: a terminal is redrawn ten times a second. */
const TERMINAL_MS = 100;
const LINES_MS = 1000;

/** The rate is that of the last two seconds. */
const WINDOW_MS = 2000;

/** The progress of one or several devices, with the state as text. */
export interface JointProgress extends Omit<Progress, "state"> {
  /** The state, or the states. */
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
  };
}

/** What is shown: the progress of a phase, and its total if known. */
export interface Measured {
  /** Returns the progress now. */
  readonly now: () => JointProgress;
  /** Total bytes; without it, the driver's pending bytes are used. */
  readonly total?: number | undefined;
}

/** Draws progress until it is disposed. */
export async function showProgress(
  what: string,
  measured: Measured,
  context: Context,
): Promise<Disposable> {
  if (context.quiet) return { [Symbol.dispose](): void {} };
  const meter = new RateMeter();
  const terminal = canDraw(process.stderr);
  const bar = terminal ? await openBar(what) : null;
  const look = (): void => {
    const progress = measured.now();
    const speed = meter.sample(progress.bytes);
    if (bar === null) {
      writeText(STDERR, `${what}: ${describe(progress, speed)}\n`);
    } else {
      bar.setTotal(Math.max(total(measured, progress), progress.bytes, 1));
      bar.update(progress.bytes, { text: describe(progress, speed) });
    }
  };
  const timer = setInterval(look, terminal ? TERMINAL_MS : LINES_MS);
  return {
    [Symbol.dispose](): void {
      clearInterval(timer);
      bar?.stop();
    },
  };
}

function total({ total }: Measured, { bytes, pendingBytes }: JointProgress): number {
  return total ?? bytes + (pendingBytes ?? 0);
}

function describe({ state, bytes: done, pendingBytes }: JointProgress, speed: string): string {
  const pending = pendingBytes === null ? "" : `, ${bytes(pendingBytes)} pending`;
  return `${state}, ${bytes(done)}, ${speed}${pending}`;
}

/** The recent rate of a count. */
class RateMeter {
  #samples: { readonly at: number; readonly count: number }[] = [{
    at: performance.now(),
    count: 0,
  }];

  sample(count: number): string {
    const at = performance.now();
    this.#samples.push({ at, count });
    while (this.#samples.length > 2 && at - this.#samples[0]!.at > WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0]!;
    return rate(Math.max(0, count - first.count), (at - first.at) / 1000);
  }
}

async function openBar(what: string): Promise<SingleBar> {
  const { default: { Presets, SingleBar } } = await import("cli-progress");
  const bar = new SingleBar({
    format: `${what} [{bar}] {percentage}%  {text}`,
    stream: process.stderr,
    barsize: 24,
    clearOnComplete: true,
    hideCursor: true,
    // main.ts handles signals and brings the device back first.
    gracefulExit: false,
  }, Presets.legacy);
  bar.start(1, 0, { text: "" });
  return bar;
}
