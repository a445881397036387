/** What README's "Install" says about sizes. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { projectFile } from "../cli/_cli.ts";

/** Megabytes on disk, by the row whose command begins so. */
export function megabytes(command: string): number {
  const row = readFileSync(projectFile("README.md"), "utf8").split("\n")
    .find((line) => line.startsWith(`| \`${command}`));
  const size = /\| +(\d+) MB +\|/.exec(row ?? "");
  assert.ok(size, command);
  return Number(size[1]);
}
