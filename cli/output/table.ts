/**
 * Plain tables: columns that line up, no frames, no colour.
 *
 * @module
 */

import Table from "cli-table3";
import { printable } from "../../src/base/printable.ts";

/** A column: its heading and alignment. */
export interface Column {
  /** The heading. */
  readonly head: string;
  /** The alignment; left by default. */
  readonly align?: "left" | "right";
}

const NO_FRAME = Object.fromEntries(
  [
    ...["top", "top-mid", "top-left", "top-right", "bottom", "bottom-mid", "bottom-left"],
    ...["bottom-right", "left", "left-mid", "mid", "mid-mid", "right", "right-mid"],
  ].map((name) => [name, ""]),
);

/** The lines of a table, indented by two spaces. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const drawn = new Table({
    head: columns.map(({ head }) => head),
    colAligns: columns.map(({ align }) => align ?? "left"),
    chars: { ...NO_FRAME, middle: "  " },
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
  });
  drawn.push(...rows.map((row) => row.map(printable)));
  return drawn.toString().split("\n").map((line) => `  ${line}`.trimEnd());
}
