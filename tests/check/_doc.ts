/**
 * The lists of docs/check.md, made from the checks and the rules. As a program it writes them:
 * `deno run -A tests/check/_doc.ts`.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { CHECKS, GROUPS, RULES, UNCHECKED } from "../../src/check/mod.ts";

const FILE = new URL("../../docs/check.md", import.meta.url);
const CHECKS_HEADING = "## The checks";

/** What stands behind the heading of the checks, as lines before formatting. */
export function lists(): string {
  const groups = GROUPS.filter((group) => CHECKS.some((check) => check.group === group));
  return [
    CHECKS_HEADING,
    "",
    `${CHECKS.length} checks in ${groups.length} groups. Behind each: its safety level, if that is ` +
    "not the default one, and the numbers of its rules.",
    "",
    ...groups.flatMap((group) => [
      `### ${group}`,
      "",
      ...CHECKS.filter((check) => check.group === group).map(({ id, safety, rules }) =>
        `- \`${id}\`: ${safety === "default" ? "" : `${safety}; `}${
          rules.map(({ number }) => number).join(", ")
        }`
      ),
      "",
    ]),
    "## The rules",
    "",
    ...[...RULES.values()].flatMap(({ number, text, source, judges }) => {
      const whom = judges === "kernel" ? "; the kernel's own code enforces it" : "";
      return `- **${number}**: ${text} (${source}${whom})`;
    }),
    "",
    "## What is not checked",
    "",
    ...[...UNCHECKED].map(([number, why]) => `- **${number}**: ${why}.`),
    "",
  ].join("\n");
}

/** The lists as they stand in the document. */
export function documented(): string {
  const text = readFileSync(FILE, "utf8");
  return text.slice(text.indexOf(CHECKS_HEADING));
}

/** Text without what formatting changes. */
export function plain(text: string): string {
  return text.replaceAll("\\", "").replaceAll(/\s+/g, " ").trim();
}

if (import.meta.main) {
  const text = readFileSync(FILE, "utf8");
  writeFileSync(FILE, text.slice(0, text.indexOf(CHECKS_HEADING)) + lists());
}
