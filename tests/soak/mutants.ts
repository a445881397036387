/**
 * Every simulated driver with every bug that it can have: a check of the bug's rule finds it. One
 * driver of each protocol is judged by all checks as well, none of which may fail by itself. The
 * last line is the score.
 *
 * @module
 */

import process from "node:process";
import { canHaveBug } from "../../src/sim/faults/bug_carriers.ts";
import { type BugName, BUGS } from "../../src/sim/faults/bug_table.ts";
import { PERSONALITIES, type PersonalityName } from "../../src/sim/mod.ts";
import { finds } from "../check/_bug_checks.ts";
import { carriersOf, judged, judgedByAll, reinitOf } from "../check/_mutants.ts";

let mutants = 0;
let found = 0;
let broken = 0;
for (const bug of Object.keys(BUGS) as BugName[]) {
  for (const personality of Object.keys(PERSONALITIES) as PersonalityName[]) {
    if (!canHaveBug({ personality, reinit: reinitOf(bug) }, bug)) continue;
    mutants += 1;
    const verdicts = await judged(bug, personality);
    if (verdicts.some((verdict) => finds(verdict, bug))) found += 1;
    else console.log(`missed: ${bug} of ${personality}`);
  }
  for (const personality of carriersOf(bug)) {
    const verdicts = await judgedByAll(bug, personality);
    for (const { id, seen } of verdicts) {
      if (seen?.includes("the check itself failed") !== true) continue;
      broken += 1;
      console.log(`${id} fails by itself: ${bug} of ${personality}: ${seen}`);
    }
  }
}
console.log(`${found} of ${mutants} drivers with one of ${Object.keys(BUGS).length} bugs found`);
process.exitCode = found === mutants && broken === 0 ? 0 : 1;
