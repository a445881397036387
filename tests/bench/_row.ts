/**
 * The benchmark's one table.
 */

/** What was measured, and against what. */
export interface Row {
  /** What was done. */
  readonly what: string;
  /** Our number. */
  readonly ours: number;
  /** The yardstick's. */
  readonly theirs: number;
  /** What the yardstick is, such as `C` or `cat`. */
  readonly yardstick: string;
  /** Of both: `ns`, `µs`, `MB/s`, `MiB`, `ms`. */
  readonly unit: string;
  /** What is compared with the target, such as `0.93` or `+41 ns`. */
  readonly compared: string;
  /** The target, such as `≥ 0.85`; null for a row that only informs. */
  readonly target: string | null;
  /** Whether it was met; null without a target. */
  readonly met: boolean | null;
  /** What else was seen; null for nothing. */
  readonly note: string | null;
}

/** Bytes moved in so many seconds, as a row: the ratio of the two rates. */
export function rateRow(
  what: string,
  yardstick: string,
  bytes: number,
  seconds: { readonly ours: number; readonly theirs: number },
  atLeast: number | null = null,
): Row {
  const ratio = seconds.theirs / seconds.ours;
  return {
    what,
    ours: bytes / seconds.ours / 1e6,
    theirs: bytes / seconds.theirs / 1e6,
    yardstick,
    unit: "MB/s",
    compared: ratio.toFixed(2),
    target: atLeast === null ? null : `≥ ${atLeast}`,
    met: atLeast === null ? null : ratio >= atLeast,
    note: null,
  };
}

const HEAD = ["what", "ours", "yardstick", "compared", "target", "met", "note"];

function cells(row: Row): string[] {
  const number = (value: number): string =>
    `${value < 10 ? value.toFixed(1) : Math.round(value)} ${row.unit}`;
  return [
    row.what,
    number(row.ours),
    `${row.yardstick} ${number(row.theirs)}`,
    row.compared,
    row.target ?? "",
    row.met === null ? "" : row.met ? "yes" : "NO",
    row.note ?? "",
  ];
}

/** The table as text. */
export function formatRows(rows: readonly Row[]): string {
  const lines = [HEAD, ...rows.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) =>
          column === 0 || column > 3 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)
        )
        .join("  ").trimEnd()
    )
    .join("\n");
}
