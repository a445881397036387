/** Which checks judge a driver by the rule that a bug breaks. */

import { CHECKS, type Verdict } from "../../src/check/mod.ts";
import { type BugName, BUGS } from "../../src/sim/faults/bug_table.ts";

/** The ids of the checks that judge a driver of a protocol by the rule that a bug breaks. */
export function checksOf(bug: BugName, protocol: "v1" | "v2" | null): string[] {
  return CHECKS
    .filter(({ rules, needs }) =>
      rules.some(({ number }) => number === BUGS[bug].rule) &&
      (needs.protocol === undefined || needs.protocol === protocol)
    )
    .map(({ id }) => id);
}

/** Whether a verdict finds a driver at fault. */
function isFound({ outcome }: Verdict): boolean {
  return outcome === "fail" || outcome === "warn";
}

/** Whether a verdict finds the bug, by the rule that it breaks. */
export function finds(verdict: Verdict, bug: BugName): boolean {
  return isFound(verdict) && verdict.rule.number === BUGS[bug].rule;
}
