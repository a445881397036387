/** Charts as pictures, for pages without scripts. */

import { escape } from "./html.ts";

/** The width of a chart, in units of its own. */
export const WIDTH = 1000;

/** Height of a chart of lines. */
const HEIGHT = 210;
/** Room above the highest line. */
const ABOVE = 10;

/** A picture as wide as the page. */
export function svg(height: number, label: string, parts: readonly string[]): string {
  return `<svg class="chart" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${
    escape(label)
  }">${parts.join("")}</svg>`;
}

/** A point of a line: time from 0 on, and a value. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A line; its class has a colour. */
export interface Line {
  readonly kind: string;
  readonly points: readonly Point[];
}

/** Lines over the same time and in the same unit, from 0 to the highest value. */
export function lineChart(label: string, lines: readonly Line[]): string {
  const all = lines.flatMap(({ points }) => points);
  const span = Math.max(1e-9, ...all.map(({ x }) => x));
  const most = Math.max(1e-9, ...all.map(({ y }) => y));
  const bottom = HEIGHT - ABOVE;
  const drawn = lines.map(({ kind, points }) => {
    const places = points.map(({ x, y }) =>
      `${(x / span * WIDTH).toFixed(1)},${(bottom - y / most * (bottom - ABOVE)).toFixed(1)}`
    );
    return `<polyline class="${kind}" points="${places.join(" ")}"></polyline>`;
  });
  return svg(HEIGHT, label, drawn);
}
