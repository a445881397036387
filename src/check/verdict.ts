/**
 * What a check comes to.
 *
 * @module
 */

import type { TraceEvent } from "../trace/mod.ts";
import type { Safety } from "./safety.ts";
import type { Rule } from "./rules.ts";

/**
 * What a check comes to. `warn`: allowed, and it hurts users. `skip`: the device lacks what the
 * check needs, or the chosen safety does not permit it. `unclear`: the check could not be done.
 */
export type Outcome = "pass" | "fail" | "warn" | "skip" | "unclear";

/** What a check comes to, and why. */
export interface Verdict {
  /** The check's id. */
  readonly id: string;
  /** The check's group. */
  readonly group: string;
  /** What the check may do to the device. */
  readonly safety: Safety;
  /** The rule that was broken, else the check's first rule. */
  readonly rule: Rule;
  /** What it comes to. */
  readonly outcome: Outcome;
  /** What was done, one step a line. */
  readonly done: readonly string[];
  /** What was expected; null if nothing was different. */
  readonly expected: string | null;
  /** What was seen instead, or why the check was skipped or is unclear. */
  readonly seen: string | null;
  /** The kernel calls that it made, in their order; the latest ones, if there were many. */
  readonly calls: readonly TraceEvent[];
  /** How many earlier calls were left out of `calls`. */
  readonly callsLeftOut: number;
  /** How long it took, in milliseconds. */
  readonly milliseconds: number;
}

/** How a check ended early. */
export class Finding extends Error {
  /** Always `Finding`. */
  override readonly name = "Finding";
  /** What the check comes to. */
  readonly outcome: Outcome;
  /** What was expected; null if that is not what matters. */
  readonly expected: string | null;
  /** What was seen, or why. */
  readonly seen: string;
  /** The rule that was broken; null for the check's first one. */
  readonly rule: Rule | null;

  /** Makes the end of a check. */
  constructor(outcome: Outcome, expected: string | null, seen: string, rule: Rule | null = null) {
    super(`${outcome}: ${seen}`);
    this.outcome = outcome;
    this.expected = expected;
    this.seen = seen;
    this.rule = rule;
  }
}
