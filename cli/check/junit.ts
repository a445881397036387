/**
 * Verdicts in the formats that build servers read: JUnit's XML, and the Test Anything Protocol.
 *
 * @module
 */

import { formatCall } from "../../src/trace/mod.ts";
import type { Verdict } from "../../src/check/mod.ts";
import { ruleWords } from "./verdict_lines.ts";

/** Everything that a person needs to know of a verdict that is no pass. */
function detailLines({ rule, done, expected, seen, calls, callsLeftOut }: Verdict): string[] {
  return [
    ruleWords(rule),
    ...(expected === null ? [] : [`expected: ${expected}`]),
    ...(seen === null ? [] : [`seen: ${seen}`]),
    ...done.map((step) => `done: ${step}`),
    ...(callsLeftOut === 0 ? [] : [`calls left out: ${callsLeftOut}`]),
    ...calls.slice(-CALLS_SHOWN).map((call) => `call: ${formatCall(call)}`),
  ];
}

/** How many of the last calls are shown. */
const CALLS_SHOWN = 40;

/** JUnit's XML, one suite for a device: a warning is a pass with its text in system-out. */
export function junit(device: string, verdicts: readonly Verdict[]): string {
  const count = (outcome: Verdict["outcome"]): number =>
    verdicts.filter((verdict) => verdict.outcome === outcome).length;
  const seconds = verdicts.reduce((sum, { milliseconds }) => sum + milliseconds, 0) / 1000;
  const totals = `tests="${verdicts.length}" failures="${count("fail")}" errors="${
    count("unclear")
  }" skipped="${count("skip")}" time="${seconds.toFixed(3)}"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="vfiokit check" ${totals}>`,
    `  <testsuite name=${quoted(device)} ${totals}>`,
    ...verdicts.map(testCase),
    "  </testsuite>",
    "</testsuites>",
    "",
  ].join("\n");
}

function testCase(verdict: Verdict): string {
  const { id, group, outcome, seen, milliseconds } = verdict;
  const head = `    <testcase classname=${quoted(group)} name=${quoted(id)} time="${
    (milliseconds / 1000).toFixed(3)
  }"`;
  const why = seen === null ? "" : ` message=${quoted(seen)}`;
  switch (outcome) {
    case "pass":
      return `${head}/>`;
    case "skip":
      return `${head}><skipped${why}/></testcase>`;
    case "warn":
      return `${head}><system-out>${xml(detailLines(verdict).join("\n"))}</system-out></testcase>`;
    case "fail":
    case "unclear": {
      const element = outcome === "fail" ? "failure" : "error";
      const body = xml(detailLines(verdict).join("\n"));
      return `${head}><${element}${why}>${body}</${element}></testcase>`;
    }
  }
}

/** What XML 1.0 cannot have at all. */
const NOT_IN_XML = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;

function xml(text: string): string {
  return text.replace(NOT_IN_XML, "\ufffd").replaceAll("&", "&amp;").replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

function quoted(text: string): string {
  return `"${xml(text)}"`;
}

/** One verdict as the lines of a TAP test point. */
export function tapLines(number: number, verdict: Verdict): string[] {
  const { id, outcome, seen } = verdict;
  const ok = outcome === "fail" || outcome === "unclear" ? "not ok" : "ok";
  const directive = outcome === "skip" ? ` # SKIP ${oneLine(seen ?? "")}` : "";
  const head = `${ok} ${number} - ${id}${directive}`;
  if (outcome === "pass" || outcome === "skip") return [head];
  return [
    head,
    "  ---",
    `  outcome: ${outcome}`,
    ...detailLines(verdict).map((line, index) => `  line${index}: ${JSON.stringify(line)}`),
    "  ...",
  ];
}

function oneLine(text: string): string {
  return text.replaceAll(/[\n#]/g, " ");
}
