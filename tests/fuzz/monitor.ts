/**
 * Hostile monitors: what QEMU's sends, with bytes that were changed, lost, repeated or put
 * elsewhere, and lines that are too long or nest too deeply.
 */

import process from "node:process";
import { NoQmp, QmpDocuments } from "../../src/vmm/qmp/qmp_documents.ts";
import { type Change, change, makeChange } from "./_byte_changes.ts";
import { describe } from "./_errors.ts";
import { Find, type Kind, without } from "./_kind.ts";

/** What a monitor sends, and how it comes. */
interface MonitorPlan {
  /** What is between two good lines. */
  readonly between: { readonly text: string; readonly times: number };
  readonly changes: readonly Change[];
  /** The lengths of the pieces that it comes in, once each. */
  readonly pieces: readonly [number, number];
}

const LINES: readonly string[] = [
  '{"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 10}}, "capabilities": ["oob"]}}',
  '{"return": {}}',
  '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}',
  '{"return": {"status": "paused", "singlestep": false, "running": false}}',
  '{"error": {"class": "CommandNotFound", "desc": "The command \\u2026 has not been found"}}',
];

const BETWEEN: readonly string[] = [
  "[",
  '{"a":',
  " ",
  "\n",
  '"',
  "\u{1f600}",
  "0",
  '{"event":"X"}\n',
];

/** More than the runtime itself ever takes between two looks. */
const MOST_MIB = 400;

/** What is read of the bytes, as text: the same in whatever pieces they come. */
function verdict(bytes: Uint8Array, length: number): string {
  const documents = new QmpDocuments();
  const found: string[] = [];
  try {
    for (let at = 0; at < bytes.length; at += length) {
      documents.push(bytes.subarray(at, at + length));
      for (let one = documents.next(); one !== null; one = documents.next()) {
        found.push(Object.keys(one).join());
      }
    }
  } catch (error) {
    if (!(error instanceof NoQmp)) {
      throw new Find("undocumented error", describe(error), { cause: error });
    }
    found.push("no QMP");
  }
  return found.join("\n");
}

/** Hostile monitors. */
export const monitor: Kind<MonitorPlan> = {
  name: "monitor",
  make: (random): MonitorPlan => ({
    between: {
      text: random.pick(BETWEEN),
      times: random.pick([0, 1, random.few(1, 2000), random.few(1, 1_500_000)]),
    },
    changes: Array.from({ length: random.few(1, 5) }, () => makeChange(random)),
    pieces: [random.few(200, 2000), random.few(5000, 100_000)],
  }),
  *smaller(plan): Generator<MonitorPlan> {
    for (const changes of without(plan.changes)) yield { ...plan, changes };
    const { text, times } = plan.between;
    if (times > 0) yield { ...plan, between: { text, times: Math.floor(times / 2) } };
  },
  run({ between: { text, times }, changes, pieces: [small, large] }): Promise<void> {
    const middle = text.repeat(times);
    let bytes = new TextEncoder().encode(
      LINES.map((line, index) => `${line}\n${index === 2 ? middle : ""}`).join(""),
    );
    for (const one of changes) bytes = change(bytes, one);
    const before = process.memoryUsage().rss;
    const [first, second] = [verdict(bytes, small), verdict(bytes, large)];
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    if (grown > MOST_MIB) throw new Find("memory", `reading it took ${grown.toFixed(0)} MiB`);
    if (first === second) return Promise.resolve();
    throw new Find("verdict", `in pieces of ${small}: ${first}; of ${large}: ${second}`);
  },
};
