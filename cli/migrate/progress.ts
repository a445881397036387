/**
 * Progress of a live migration on stderr: a block that is redrawn on a terminal, lines elsewhere.
 *
 * @module
 */

import { printable } from "../../src/base/printable.ts";
import type { MigrateProgress, ReceiveProgress } from "../../src/live/mod.ts";
import type { Context } from "../context.ts";
import { bytes, rate, time } from "../output/format.ts";
import { RateMeter, redraw, redraws } from "../output/progress.ts";
import { shorten, silence, silentSeconds } from "../output/progress_line.ts";
import { inDoubt } from "./resolve.ts";

const GAP = "  ";

/** A name is not cut further than to this. */
const SHORTEST_NAME = 12;

/** What is known of a migration at one moment. */
export interface LiveShown {
  /** What is done: `Moving`. */
  readonly verb: string;
  /** What it is done to. */
  readonly name: string;
  /** What goes on: `pre-copy, round 2`. */
  readonly state: string;
  /** What there is to say about it. */
  readonly facts: readonly string[];
  /** For how long a driver has not answered; null if that is not long. */
  readonly silentSeconds: number | null;
}

/** As text, for a file or a pipe. */
export function liveText(shown: LiveShown): string {
  const { verb, name, state, facts } = shown;
  return `${verb} ${name}: ${[state, ...facts, ...silent(shown)].join(", ")}`;
}

/** As a block of lines of at most so many columns each: all facts are in it. */
export function liveLines(shown: LiveShown, columns: number): string[] {
  const { verb, name, state, facts } = shown;
  const forName = Math.max(SHORTEST_NAME, columns - verb.length - state.length - 1 - GAP.length);
  const lines = [`${verb} ${shorten(name, forName)}${GAP}${state}`];
  let line = "";
  for (const fact of [...facts, ...silent(shown)]) {
    if (line !== "" && line.length + GAP.length + fact.length > columns) {
      lines.push(line);
      line = "";
    }
    line += `${GAP}${fact}`;
  }
  lines.push(line);
  return lines.map((line) => shorten(line, columns));
}

function silent(shown: LiveShown): string[] {
  const text = silence(shown);
  return text === "" ? [] : [text];
}

/** What of a source's progress is shown, at this rate of the stream in bytes per second. */
export function sourceShown(name: string, progress: MigrateProgress, speed: number): LiveShown {
  const { phase, rounds, left, step, expectedDowntimeMs, unansweredMs } = progress;
  const last = rounds.at(-1);
  const dirtied = last === undefined ? "not known yet" : rate(last.dirtied, last.seconds);
  const expected = expectedDowntimeMs === null
    ? "not known yet"
    : expectedWords(expectedDowntimeMs);
  return {
    verb: "Moving",
    name: printable(name),
    state: phase === "pre-copy"
      ? `pre-copy, round ${rounds.length + 1}`
      : phase === "stopped"
      ? `stopped: ${step}`
      : phase,
    facts: [
      `${bytes(left)} left`,
      `dirty rate ${dirtied}`,
      `bandwidth ${rate(speed, 1)}`,
      `expected downtime ${expected}`,
    ],
    silentSeconds: silentSeconds(unansweredMs),
  };
}

/** What of a destination's progress is shown, at this rate in bytes per second. */
export function destinationShown(
  name: string,
  { phase, bytes: { memory, device }, unansweredMs }: ReceiveProgress,
  speed: number,
): LiveShown {
  return {
    verb: "Taking over",
    name: printable(name),
    state: phase,
    facts: [
      `${bytes(memory)} of memory`,
      `${bytes(device)} of device data`,
      `bandwidth ${rate(speed, 1)}`,
    ],
    silentSeconds: silentSeconds(unansweredMs),
  };
}

function expectedWords(expectedMs: number): string {
  return Number.isFinite(expectedMs) ? time(expectedMs / 1000) : "unknown";
}

/** Shows a migration of these devices, and tells what is new of it; ends when it is disposed. */
export class MigrationProgress implements Disposable {
  readonly #name: string;
  readonly #context: Context;
  readonly #meter = new RateMeter(() => performance.now());
  readonly #drawing: Disposable;
  readonly #warnings = new Set<string>();
  #last: MigrateProgress | ReceiveProgress | null = null;
  #rounds = 0;
  #phase: string | null = null;

  /** Shows nothing before it is told something. */
  constructor(names: readonly string[], context: Context) {
    this.#name = names.length === 1 ? names[0]! : `${names.length} devices`;
    this.#context = context;
    this.#drawing = redraw((columns) => this.#lines(columns), context);
  }

  #lines(columns: number | null): string[] {
    const last = this.#last;
    // In doubt there is nothing to measure, and for long.
    if (last === null || last.phase === "in-doubt" || last.phase === "done") return [];
    const shown = "rounds" in last
      ? sourceShown(this.#name, last, this.#meter.rate(last.sent))
      : destinationShown(this.#name, last, this.#meter.rate(last.received));
    return columns === null ? [liveText(shown)] : liveLines(shown, columns);
  }

  /** Takes what is known now. */
  tell(progress: MigrateProgress | ReceiveProgress): void {
    this.#last = progress;
    if ("rounds" in progress) this.#tellRounds(progress);
    const { phase, id } = progress;
    if (phase === this.#phase) return;
    this.#phase = phase;
    if (phase === "stopped" && !redraws()) {
      this.#context.note("The device stands still; the rest is sent");
    }
    if (phase === "in-doubt") this.#context.alert(inDoubt(id));
  }

  #tellRounds({ rounds, warnings, expectedDowntimeMs }: MigrateProgress): void {
    for (const warning of warnings) {
      if (!this.#warnings.has(warning)) this.#context.note(warning);
      this.#warnings.add(warning);
    }
    for (; this.#rounds < rounds.length; this.#rounds++) {
      // A terminal shows the last one in its block.
      if (redraws()) continue;
      const { sent, seconds, left } = rounds[this.#rounds]!;
      this.#context.note(
        `Round ${this.#rounds + 1}: ${bytes(sent)} in ${time(seconds)} (${rate(sent, seconds)}), ` +
          `${bytes(left)} left; expected downtime: ${expectedWords(expectedDowntimeMs!)}`,
      );
    }
  }

  /** Ends the drawing. */
  [Symbol.dispose](): void {
    this.#drawing[Symbol.dispose]();
  }
}
