/**
 * How progress is laid out: in one line of a terminal, whatever its width, or as text.
 *
 * @module
 */

import { bytes, rate } from "./format.ts";

/** The longest bar, and the shortest that says anything, without its brackets. */
const LONGEST_BAR = 24;
const SHORTEST_BAR = 8;

/** A name is not cut further than to this: a PCI address fits. */
const SHORTEST_NAME = 12;

const GAP = "  ";

/** A driver that does not answer for this long is reported, in milliseconds. */
const SILENT_MS = 3000;

/** What is known at one moment. */
export interface Shown {
  /** What is done: `Saving`. */
  readonly verb: string;
  /** What it is done to. */
  readonly name: string;
  /** The state, or the states; empty if what is read or written is a file alone. */
  readonly state: string;
  /** Bytes moved. */
  readonly bytes: number;
  /** Bytes that are to be moved yet; null if the driver has not said. */
  readonly pendingBytes: number | null;
  /** The part that is done, from 0 to 1; null if it is not known how much there is. */
  readonly part: number | null;
  /** Bytes per second. */
  readonly rate: number;
  /** How long the rest takes at this rate; null if that is not known. */
  readonly secondsLeft: number | null;
  /** For how long the driver has not answered; null if that is not long. */
  readonly silentSeconds: number | null;
}

/** As text, for a file or a pipe. */
export function progressText(shown: Shown): string {
  const { verb, name, state } = shown;
  const facts = [state, amount(shown), speed(shown), pending(shown), eta(shown), silence(shown)];
  return `${verb} ${name}: ${facts.filter((fact) => fact !== "").join(", ")}`;
}

/**
 * As a line of at most so many columns. Where they do not hold everything, the bar and the name
 * shrink first; the percentage and the rate stay to the last.
 */
export function progressLine(shown: Shown, columns: number): string {
  const percent = shown.part === null ? "" : `${Math.floor(shown.part * 100)}%`.padStart(4);
  // What is left out, from the first to the last; a driver's silence stays longer than the name.
  const dispensable = [pending(shown), amount(shown), eta(shown), shown.state];
  const order = [shown.state, amount(shown), speed(shown), pending(shown), eta(shown)];
  for (let without = 0; without <= dispensable.length; without++) {
    const left = order.filter((fact) => !dispensable.slice(0, without).includes(fact));
    const facts = [percent, ...left, silence(shown)].filter((fact) => fact !== "").join(GAP);
    const line = beside(shown, facts, columns);
    if (line !== null) return line;
  }
  const bare = [percent.trim(), speed(shown), silence(shown)].filter((fact) => fact !== "");
  const fits = bare.join(GAP);
  return fits.length <= columns ? fits : bare.slice(0, 2).join(" ").slice(0, columns);
}

/** The name and the bar in the room beside these facts; null if the name does not fit. */
function beside({ verb, name, part }: Shown, facts: string, columns: number): string | null {
  const room = columns - facts.length - GAP.length;
  const shortest = verb.length + 1 + Math.min(name.length, SHORTEST_NAME);
  if (room < shortest) return null;
  const forBar = room - shortest - GAP.length - 2;
  const length = forBar < SHORTEST_BAR ? 0 : Math.min(LONGEST_BAR, forBar);
  const drawn = part === null || length === 0 ? "" : `${GAP}[${bar(part, length)}]`;
  const forName = room - drawn.length - verb.length - 1;
  return `${verb} ${shorten(name, forName)}${drawn}${GAP}${facts}`;
}

function bar(part: number, length: number): string {
  return "=".repeat(Math.round(part * length)).padEnd(length, "-");
}

/** A text in at most so many columns. */
export function shorten(name: string, length: number): string {
  return name.length <= length ? name : `${name.slice(0, length - 1)}…`;
}

function amount({ bytes: moved }: Shown): string {
  return bytes(moved);
}

function speed(shown: Shown): string {
  return rate(shown.rate, 1);
}

function pending({ pendingBytes }: Shown): string {
  return pendingBytes === null ? "" : `${bytes(pendingBytes)} pending`;
}

function eta({ secondsLeft }: Shown): string {
  return secondsLeft === null ? "" : `ETA ${span(secondsLeft)}`;
}

/** For how many seconds a driver has not answered; null if that is not long. */
export function silentSeconds(unansweredMs: number): number | null {
  return unansweredMs < SILENT_MS ? null : unansweredMs / 1000;
}

/** That the driver has not answered for a while; empty if that is not so. */
export function silence({ silentSeconds }: Pick<Shown, "silentSeconds">): string {
  return silentSeconds === null ? "" : `no answer from the driver for ${span(silentSeconds)}`;
}

/** A time in its two largest units: `12 s`, `3 min 20 s`, `2 h 5 min`. */
function span(seconds: number): string {
  const whole = Math.floor(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes === 0) return `${whole} s`;
  const hours = Math.floor(minutes / 60);
  return hours === 0 ? `${minutes} min ${whole % 60} s` : `${hours} h ${minutes % 60} min`;
}
