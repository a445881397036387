/** How many different pages are dirtied in a given time, from measured rounds. */

import type { DirtyRun } from "./bitmap/bitmap.ts";

/** One measured round. */
export interface Measured {
  readonly seconds: number;
  readonly pages: number;
  /** Null if they are not all known. */
  readonly runs: readonly DirtyRun[] | null;
}

/** Page numbers, `[first, end, first, end, …]`, ascending. 2^64 bytes are 2^52 pages: they fit. */
type Edges = readonly number[];

interface Window {
  readonly seconds: number;
  readonly pages: number;
  readonly edges: Edges | null;
}

interface Point {
  readonly seconds: number;
  readonly pages: number;
}

/**
 * The curve through the busiest window of each length that was measured: 1, 2,
 * 4, 8, … rounds. A page that is dirtied twice in a window counts once.
 *
 * Between the points, and on both sides of them, it is a straight line in
 * logarithms: random writes to a large memory have slope 1, a hot set that is
 * written again and again has slope 0.
 */
export class WorkingSetCurve {
  readonly #points: readonly Point[];
  readonly #ceiling: number;

  /** `ceiling`: the number of all pages. */
  constructor(rounds: readonly Measured[], pgsize: number, ceiling: number) {
    this.#ceiling = ceiling;
    const points: Point[] = [];
    let windows: readonly Window[] = rounds.map(({ seconds, pages, runs }) => ({
      seconds,
      pages,
      edges: runs === null ? null : edgesOf(runs, BigInt(pgsize)),
    }));
    for (; windows.length > 0; windows = pairs(windows, ceiling)) {
      const last = points.at(-1) ?? { seconds: 0, pages: 0 };
      const seconds = windows.reduce((sum, window) => sum + window.seconds, 0) / windows.length;
      const pages = windows.reduce((most, window) => Math.max(most, window.pages), last.pages);
      // Rounds of very different lengths: the pairs left may be shorter than the mean round.
      if (seconds > last.seconds) points.push({ seconds, pages });
    }
    this.#points = points;
  }

  /** Pages dirtied in this many seconds. */
  pages(seconds: number): number {
    const points = this.#points;
    const [first] = points;
    const last = points.at(-1);
    if (first === undefined || last === undefined || first.pages === 0) return 0;
    // One window does not predict others, so the larger answer is used.
    if (first === last) return this.#on(first, seconds < first.seconds ? 0 : 1, seconds);
    const after = points.findIndex((point, index) => index > 0 && seconds <= point.seconds);
    const to = after < 0 ? points.length - 1 : after;
    const from = points[to - 1]!;
    const slope = slopeOf(from, points[to]!);
    const inside = seconds >= first.seconds && seconds <= last.seconds;
    // Twice the time does not dirty more than twice the pages for long.
    return this.#on(from, inside ? slope : Math.min(slope, 1), seconds);
  }

  #on({ seconds, pages }: Point, slope: number, at: number): number {
    return Math.min(pages * (at / seconds) ** slope, this.#ceiling);
  }
}

function slopeOf(from: Point, to: Point): number {
  return Math.log(to.pages / from.pages) / Math.log(to.seconds / from.seconds);
}

function edgesOf(runs: readonly DirtyRun[], pgsize: bigint): Edges {
  const edges: number[] = [];
  for (const { iova, size } of runs) {
    edges.push(Number(iova / pgsize), Number((iova + size) / pgsize));
  }
  return edges;
}

/** Windows of twice the length; a last one that has no partner is left out. */
function pairs(windows: readonly Window[], ceiling: number): Window[] {
  const joined: Window[] = [];
  for (let index = 0; index + 1 < windows.length; index += 2) {
    joined.push(join(windows[index]!, windows[index + 1]!, ceiling));
  }
  return joined;
}

function join(a: Window, b: Window, ceiling: number): Window {
  const seconds = a.seconds + b.seconds;
  if (a.edges === null || b.edges === null) {
    return { seconds, pages: Math.min(a.pages + b.pages, ceiling), edges: null };
  }
  const edges = union(a.edges, b.edges);
  return { seconds, pages: pagesIn(edges), edges };
}

function union(a: Edges, b: Edges): Edges {
  const out: number[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    const fromA = j >= b.length || (i < a.length && a[i]! <= b[j]!);
    const first = fromA ? a[i]! : b[j]!;
    const end = fromA ? a[i + 1]! : b[j + 1]!;
    if (fromA) i += 2;
    else j += 2;
    const last = out.length - 1;
    if (last > 0 && first <= out[last]!) out[last] = Math.max(out[last]!, end);
    else out.push(first, end);
  }
  return out;
}

function pagesIn(edges: Edges): number {
  let pages = 0;
  for (let index = 0; index < edges.length; index += 2) pages += edges[index + 1]! - edges[index]!;
  return pages;
}
