/**
 * The help text of simulated devices.
 *
 * @module
 */

import { type BugName, BUGS } from "./faults/bug_table.ts";
import { faultForm, type FaultName, FAULTS } from "./faults/fault_plan.ts";
import { PERSONALITIES } from "./personalities.ts";
import { OPTIONS } from "./spec.ts";

/**
 * The help text of `sim:…` names: personalities, options, faults and bugs.
 *
 * @example
 * ```ts
 * import { simHelp } from "vfiokit/sim";
 * import assert from "node:assert/strict";
 *
 * assert.match(simHelp(), /fault=transition:N:ERRNO/);
 * ```
 */
export function simHelp(): string {
  const personalities = Object.entries(PERSONALITIES).map(([name, { summary }]) =>
    [`sim:${name}`, summary] as const
  );
  const options = Object.entries(OPTIONS).map(([name, { form, text, byDefault }]) =>
    [`${name}=${form}`, `${text} (default: ${byDefault})`] as const
  );
  const faults = (Object.keys(FAULTS) as FaultName[]).map((name) =>
    [`fault=${faultForm(name)}`, FAULTS[name].text] as const
  );
  const bugs = (Object.keys(BUGS) as BugName[]).map((name) => {
    const { to, rule, text } = BUGS[name];
    return [`bug=${name}`, `${text} (${to}, rule ${rule})`] as const;
  });
  return [
    "sim:PERSONALITY[?OPTION=VALUE&fault=FAULT&bug=BUG&…]",
    "",
    "Personalities:",
    ...rows(personalities),
    "",
    "Options (BYTES: 4096, 64KiB, 256MiB, 4G):",
    ...rows(options),
    "",
    "Faults, any number of them (N counts from 1; DURATION: 500ms, 5s):",
    ...rows(faults),
    "",
    "Bugs, any number of them: the driver breaks one rule all the time (devices, rule's number):",
    ...rows(bugs),
    "",
  ].join("\n");
}

function rows(entries: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...entries.map(([left]) => left.length));
  return entries.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}
