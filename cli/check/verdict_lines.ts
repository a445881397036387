/**
 * Verdicts as lines for a person.
 *
 * @module
 */

import { styleText } from "node:util";
import { printable } from "../../mod.ts";
import type { Outcome, Rule, Safety, Verdict } from "../../src/check/mod.ts";

/** What a safety level permits, in words. */
export const SAFETY_WORDS: Readonly<Record<Safety, string>> = {
  default: "nothing enters RESUMING, may end in ERROR, or closes the device",
  reset: "the device's own state is restored into it, and it is closed and reset",
  destructive:
    "the device is closed and reset, and is given foreign, cut and damaged data; its state is lost",
};

/** How a verdict is written. */
const OUTCOMES: Readonly<Record<Outcome, readonly [word: string, colour: Colour]>> = {
  pass: ["pass", "green"],
  fail: ["FAIL", "red"],
  warn: ["warn", "yellow"],
  skip: ["skip", "gray"],
  unclear: ["unclear", "magenta"],
};

type Colour = "green" | "red" | "yellow" | "gray" | "magenta";

/** The width of the longest word above. */
const WIDTH = 7;

/** The word for an outcome. */
export function outcomeWord(outcome: Outcome): string {
  return OUTCOMES[outcome][0];
}

/** How often each outcome came. */
export class Counts {
  readonly #counts = new Map<Outcome, number>();

  /** Counts one more. */
  add(outcome: Outcome): void {
    this.#counts.set(outcome, this.of(outcome) + 1);
  }

  /** How often an outcome came. */
  of(outcome: Outcome): number {
    return this.#counts.get(outcome) ?? 0;
  }

  /** The last line of the summary. */
  get line(): string {
    const unclear = this.of("unclear");
    return (unclear === 0 ? "" : `${unclear} unclear, `) +
      `${this.of("pass")} passed, ${this.of("fail")} failed, ${this.of("warn")} warnings, ` +
      `${this.of("skip")} skipped`;
  }

  /** As an object, for JSON. */
  get document(): Record<string, number> {
    return {
      passed: this.of("pass"),
      failed: this.of("fail"),
      warnings: this.of("warn"),
      skipped: this.of("skip"),
      unclear: this.of("unclear"),
    };
  }
}

/** A rule with its number and source, in one line. */
export function ruleWords({ number, text, source, judges }: Rule): string {
  const numbered = number === null ? "" : ` ${number}`;
  const whom = judges === "kernel" ? "; this judges the kernel, not the driver" : "";
  return `rule${numbered}: ${text} (${source}${whom})`;
}

/** What was done, shortened to the last steps. */
function doneWords(done: readonly string[]): string {
  const last = done.slice(-LAST_STEPS);
  return (done.length > last.length ? `… (${done.length - last.length} before) ` : "") +
    last.join("; ");
}

const LAST_STEPS = 12;

/** Writes verdicts as lines; skipped checks of one reason are one line. */
export class VerdictLines {
  readonly #coloured: boolean;
  #heading = "";
  readonly #skipped = new Map<string, string[]>();

  /** With colours or without. */
  constructor(coloured: boolean) {
    this.#coloured = coloured;
  }

  /** The lines of a verdict, and of what was skipped before it. */
  add(verdict: Verdict): string[] {
    const lines = this.#headingOf(verdict);
    const { id, outcome, seen } = verdict;
    if (outcome === "skip") {
      const why = seen ?? "";
      this.#skipped.set(why, [...this.#skipped.get(why) ?? [], id]);
      return lines;
    }
    return [...lines, this.#line(outcome, id), ...this.#details(verdict)];
  }

  #headingOf({ group, safety }: Verdict): string[] {
    const heading = safety === "default" ? group : `${group} (${safety})`;
    if (heading === this.#heading) return [];
    const lines = this.end();
    this.#heading = heading;
    return [...lines, printable(heading)];
  }

  /** What is left to be written. */
  end(): string[] {
    const lines = [...this.#skipped].map(([why, ids]) =>
      this.#line("skip", ids.length === 1 ? `${ids[0]}: ${why}` : `${ids.length} checks: ${why}`)
    );
    this.#skipped.clear();
    return lines;
  }

  #line(outcome: Outcome, words: string): string {
    const [word, colour] = OUTCOMES[outcome];
    const padded = word.padEnd(WIDTH);
    const shown = this.#coloured ? styleText(colour, padded, { validateStream: false }) : padded;
    return `  ${shown}  ${printable(words)}`;
  }

  #details({ outcome, rule, done, expected, seen }: Verdict): string[] {
    if (outcome === "pass") return [];
    const indent = " ".repeat(WIDTH + 4);
    const lines = [
      ...(outcome === "unclear" ? [] : [ruleWords(rule)]),
      ...(done.length === 0 ? [] : [`done: ${doneWords(done)}`]),
      ...(expected === null ? [] : [`expected: ${expected}`]),
      ...(seen === null ? [] : [`${outcome === "unclear" ? "why" : "seen"}: ${seen}`]),
    ];
    return lines.map((line) => indent + printable(line));
  }
}
