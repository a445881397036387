/**
 * Every simulated driver with every bug that it can have, judged by all checks: a check of the
 * bug's rule finds it, and no check fails by itself. The last line is the score.
 *
 * @module
 */

import process from "node:process";
import { type BugName, BUGS, canHaveBug } from "../../src/sim/faults/bug_table.ts";
import { PERSONALITIES, type PersonalityName } from "../../src/sim/mod.ts";
import { finds } from "../check/_bug_checks.ts";
import { judgedByAll, reinitOf } from "../check/_mutants.ts";

let mutants = 0;
let found = 0;
for (const bug of Object.keys(BUGS) as BugName[]) {
  for (const personality of Object.keys(PERSONALITIES) as PersonalityName[]) {
    if (!canHaveBug({ personality, reinit: reinitOf(bug) }, bug)) continue;
    mutants += 1;
    const verdicts = await judgedByAll(bug, personality);
    const broken = verdicts.filter(({ seen }) => seen?.includes("the check itself failed"));
    if (verdicts.some((verdict) => finds(verdict, bug)) && broken.length === 0) found += 1;
    else console.log(`missed: ${bug} of ${personality} ${broken.map(({ id }) => id).join(" ")}`);
  }
}
console.log(`${found} of ${mutants} drivers with one of ${Object.keys(BUGS).length} bugs found`);
process.exitCode = found === mutants ? 0 : 1;
