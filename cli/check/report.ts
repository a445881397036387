/**
 * The HTML report of a run of checks: one page that loads nothing from elsewhere.
 *
 * @module
 */

import type { CheckPlan, Verdict } from "../../src/check/mod.ts";
import { formatCall } from "../../src/trace/mod.ts";
import { escape, page } from "../report/html.ts";
import { Counts, outcomeWord, ruleWords, SAFETY_WORDS } from "./verdict_lines.ts";

const STYLE = `
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
summary { cursor: pointer; font-family: ui-monospace, monospace; }
.pass summary { color: #1a7f37; } .fail summary { color: #cf222e; font-weight: bold; }
.warn summary { color: #9a6700; } .skip summary { color: #6e7781; }
.unclear summary { color: #8250df; }
dl { margin: .5rem 0 1rem 1.5rem; } dt { font-weight: bold; } dd { margin: 0 0 .5rem 0; }
pre { overflow-x: auto; padding: .5rem; border: 1px solid #8884; font-size: 12px; }
`;

/** How many of the last calls are shown. */
const CALLS_SHOWN = 200;

/** The page. */
export function reportPage(plan: CheckPlan, verdicts: readonly Verdict[]): string {
  const { label, protocol, migrationFlags, driver, kernel, second } = plan.device;
  const counts = new Counts();
  for (const { outcome } of verdicts) counts.add(outcome);
  const title = `Check of ${label}`;
  const facts: readonly (readonly [string, string | null])[] = [
    ["Driver", driver],
    ["Kernel", kernel],
    ["Protocol", protocol],
    ["Flags", migrationFlags?.join(", ") ?? null],
    ["Second device", second],
    ["Safety level", `${plan.safety}: ${SAFETY_WORDS[plan.safety]}`],
    ["Result", counts.line],
  ];
  const groups = [...new Set(verdicts.map(({ group }) => group))];
  const body = [
    `<h1>${escape(title)}</h1>`,
    list(facts.filter((fact): fact is [string, string] => fact[1] !== null)),
    ...groups.flatMap((group) => [
      `<h2>${escape(group)}</h2>`,
      ...verdicts.filter((verdict) => verdict.group === group).map(details),
    ]),
  ].join("\n");
  return page({ title, style: STYLE, body, data: null, scripts: [] });
}

function list(rows: readonly (readonly [string, string])[]): string {
  const items = rows.map(([name, value]) => `<dt>${escape(name)}</dt><dd>${escape(value)}</dd>`);
  return `<dl>${items.join("")}</dl>`;
}

function details(verdict: Verdict): string {
  const { id, outcome, rule, done, expected, seen, calls, callsLeftOut } = verdict;
  const rows: (readonly [string, string])[] = [
    ["Rule", ruleWords(rule)],
    ...(done.length === 0 ? [] : [["Done", done.join("; ")] as const]),
    ...(expected === null ? [] : [["Expected", expected] as const]),
    ...(seen === null ? [] : [["Seen", seen] as const]),
  ];
  const left = callsLeftOut + Math.max(0, calls.length - CALLS_SHOWN);
  const lines = calls.slice(-CALLS_SHOWN).map(formatCall);
  const shown = left === 0 ? lines : [`(${left} calls before)`, ...lines];
  const trace = calls.length === 0 ? "" : `<pre>${shown.map(escape).join("\n")}</pre>`;
  const open = outcome === "fail" ? " open" : "";
  return `<details class="${outcome}"${open}><summary>${outcomeWord(outcome)} ${escape(id)}` +
    `</summary>${list(rows)}${trace}</details>`;
}
