/**
 * One reading of dirty pages, as JSON and as lines.
 *
 * @module
 */

import type { DirtyReading, DirtyRun } from "../../src/dirty/mod.ts";
import { hex } from "../output/format.ts";
import { notesOf } from "./rounds.ts";
import { pair } from "./samples.ts";

/** The JSON document before anything is read: the same keys. */
export const NO_READING = {
  pgsize: null,
  mappings: null,
  pages: null,
  bytes: null,
  pinnedPages: null,
  runs: null,
  pinnedRuns: null,
  verdict: null,
  notes: null,
} as const;

/** A reading in the JSON document. */
export function readingFields(
  reading: DirtyReading,
  pgsize: number,
): Record<keyof typeof NO_READING, unknown> {
  const { ranges, dirtyPages, pinnedPages, verdict } = reading;
  return {
    pgsize,
    mappings: ranges.map(({ bitmap }) => pair(bitmap)),
    pages: dirtyPages,
    bytes: dirtyPages * pgsize,
    pinnedPages,
    runs: [...reading.runs()].map(pair),
    pinnedRuns: pinnedPages === null ? null : [...pinnedRuns(reading)].map(pair),
    verdict,
    notes: notesOf(reading),
  };
}

/** One line per range, `IOVA:SIZE` as `--map` takes it, and `pinned` after pinned ones. */
export function runLines(reading: DirtyReading): string {
  const lines: { readonly iova: bigint; readonly text: string }[] = [];
  const add = ({ iova, size }: DirtyRun, more: string): void => {
    lines.push({ iova, text: `${hex(iova)}:${hex(size)}${more}\n` });
  };
  for (const { bitmap, pinned } of reading.ranges) {
    const others = pinned === null ? bitmap : bitmap.difference(pinned);
    for (const run of others.runs()) add(run, "");
    for (const run of pinned?.runs() ?? []) add(run, " pinned");
  }
  return lines.sort((a, b) => a.iova < b.iova ? -1 : 1).map(({ text }) => text).join("");
}

function* pinnedRuns({ ranges }: DirtyReading): Generator<DirtyRun, void, void> {
  for (const { pinned } of ranges) yield* pinned?.runs() ?? [];
}
