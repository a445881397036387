/**
 * The report of `timeline --report`: one HTML page that needs no network and no script.
 *
 * @module
 */

import type { DeviceTimeline } from "../../src/trace/mod.ts";
import { formatCall } from "../../src/trace/mod.ts";
import { bytes, rate, shortTime, time } from "../output/format.ts";
import { precopyWords } from "../output/downtime_words.ts";
import type { StoredTimes } from "../output/stored_times.ts";
import type { StoredPhase, Timelines, TracedDevice } from "../timeline/timelines.ts";
import { escape, page, section, table, type TimePart, waterfall } from "./html.ts";
import { lineChart, type Point, svg, WIDTH } from "./_svg.ts";
import pageStyle from "./page.css" with { type: "text" };
import timelineStyle from "./timeline.css" with { type: "text" };

type DowntimeReport = NonNullable<StoredTimes["downtime"]>;
type StoredTimelines = Extract<Timelines, { readonly kind: "checkpoint" }>;

/** The height of a row of a chart. */
const ROW = 22;

/** The page. */
export function timelinePage(found: Timelines, file: string, tool: string): string {
  const title = `Timeline of ${file}`;
  const body = [
    `<h1>${escape(title)}</h1>`,
    `<p>${escape(about(found))}</p>`,
    ...(found.kind === "trace" ? found.devices.flatMap(deviceSections) : storedSections(found)),
    `<footer>Written by ${escape(tool)}.</footer>`,
  ];
  const style = pageStyle + timelineStyle;
  return page({ title, style, body: body.join("\n"), data: null, scripts: [] });
}

function about(found: Timelines): string {
  if (found.kind === "checkpoint") return `A checkpoint, written ${found.created}.`;
  const { started, kernel, devices } = found.header;
  const where = kernel === null ? "" : ` on Linux ${kernel}`;
  return `A trace of ${devices.join(", ")}, begun ${new Date(started).toISOString()}${where}.`;
}

function deviceSections(device: TracedDevice): string[] {
  return [
    `<h2 class="device">${escape(device.device)}</h2>`,
    states(device),
    downtime(device),
    pending(device),
    histograms(device),
    slowest(device),
  ];
}

/** Where a bar is. */
interface BarPlace {
  readonly x: number;
  readonly y: number;
  readonly width: number;
}

function bar({ x, y, width }: BarPlace, kind: string, title: string): string {
  const wide = Math.max(1, width).toFixed(2);
  return `<rect class="${kind}" x="${x.toFixed(2)}" y="${y}" width="${wide}" height="${
    ROW - 4
  }"><title>${escape(title)}</title></rect>`;
}

function label(x: number, y: number, text: string): string {
  return `<text x="${x.toFixed(2)}" y="${y + ROW - 9}">${escape(text)}</text>`;
}

/** One row for each state, over the time of all of them. */
function states({ states }: DeviceTimeline): string {
  const first = states[0]?.begun ?? 0;
  const span = Math.max(1, (states.at(-1)?.ended ?? 1) - first);
  const names = [...new Set(states.map(({ state }) => state))];
  const place = (micros: number): number => 160 + (micros - first) / span * (WIDTH - 160);
  const parts = names.map((name, row) => label(0, row * ROW, name));
  for (const { state, begun, ended, left, bytes: moved } of states) {
    const end = left ?? ended;
    const data = moved === 0 ? "" : `, ${bytes(moved)}`;
    const title = `${state}: ${shortTime(end - begun)}${data}`;
    const row = names.indexOf(state);
    parts.push(
      bar({ x: place(begun), y: row * ROW, width: place(end) - place(begun) }, "state", title),
    );
  }
  return section(
    "States",
    `From ${time(first / 1e6)} to ${time((first + span) / 1e6)} of the trace.`,
    svg(names.length * ROW, "States over time", parts),
  );
}

function downtime({ standstill }: TracedDevice): string {
  if (standstill === null) return section("Downtime", "The device never stood still.", "");
  const { seconds } = standstill;
  const caption = seconds === null
    ? "The device is stopped."
    : `The device stood still for ${time(seconds)}.`;
  return waterfall(caption, standstillParts(standstill));
}

/** The parts of a standstill, one below the other. */
function standstillParts({ parts }: DowntimeReport): TimePart[] {
  return parts.map(({ kind, state, to, seconds }) => ({
    name: kind === "arc" ? `${state} → ${to}` : `${kind.replace("-", " ")} in ${state}`,
    kind,
    seconds,
  }));
}

/** What was pending when the driver was asked, and what had been moved by then. */
function pending({ pending }: DeviceTimeline): string {
  if (pending.length === 0) return "";
  const [first] = pending;
  const span = pending.at(-1)!.time - first!.time;
  const most = Math.max(1, ...pending.map((point) => Math.max(point.pending, point.bytes)));
  const at = (value: (point: typeof pending[number]) => number): Point[] =>
    pending.map((point) => ({ x: point.time - first!.time, y: value(point) }));
  return section(
    "Pending and moved",
    `What the driver said was pending <i class="pending"></i>, and what had been moved ` +
      `<i class="moved"></i>, up to ${bytes(most)}, in ${shortTime(span)}.`,
    lineChart("Pending and moved bytes over time", [
      { kind: "pending", points: at((point) => point.pending) },
      { kind: "moved", points: at((point) => point.bytes) },
    ]),
  );
}

function histograms({ calls }: DeviceTimeline): string {
  return table(
    "Calls",
    "The most costly first. The histogram has a bar for less than 1, 2, 4, … microseconds.",
    ["call", "calls", "failed", "total", "mean", "longest", "latency"],
    calls.map(({ name, count, failed, total, longest, histogram }) => [
      escape(name),
      ...[String(count), failed === 0 ? "-" : String(failed)],
      ...[shortTime(total), shortTime(total / count), shortTime(longest)],
      histogramOf(histogram),
    ]),
  );
}

function histogramOf(histogram: readonly number[]): string {
  const most = Math.max(1, ...histogram);
  const bars = histogram.map((count, bucket) => {
    if (count === 0) return "";
    const height = Math.max(1, count / most * 20);
    const title = `less than ${shortTime(2 ** bucket)}: ${count}`;
    return `<rect x="${bucket * 6}" y="${(20 - height).toFixed(1)}" width="5" height="${
      height.toFixed(1)
    }"><title>${title}</title></rect>`;
  });
  return `<svg class="histogram" viewBox="0 0 ${histogram.length * 6} 20" role="img" ` +
    `aria-label="Latencies">${bars.join("")}</svg>`;
}

function slowest({ slowest }: DeviceTimeline): string {
  return table(
    "The slowest calls",
    "When they began, and how long they took.",
    ["call", "at", "took"],
    slowest.map((event) => [
      escape(formatCall(event)),
      time(event.time / 1e6),
      shortTime(event.duration),
    ]),
  );
}

function storedSections({ phases: all, devices }: StoredTimelines): string[] {
  return [
    phases(all),
    ...devices.flatMap(({ precopy, downtime }, number) => [
      `<h2 class="device">Device ${number}</h2>`,
      ...(downtime === null ? [] : [
        waterfall("The device stood still until its data was read.", standstillParts(downtime)),
      ]),
      ...(precopy === null ? [] : [rounds(precopy)]),
    ]),
  ];
}

function rounds(precopy: NonNullable<StoredTimes["precopy"]>): string {
  return table(
    "Rounds of pre-copy",
    precopyWords("", precopy),
    ["round", "pending", "bytes", "time", "rate"],
    precopy.rounds.map(({ pending, bytes: moved, seconds }, round) => [
      ...[String(round + 1), bytes(pending), bytes(moved), time(seconds)],
      rate(moved, seconds),
    ]),
  );
}

function phases(phases: readonly StoredPhase[]): string {
  return table(
    "Phases",
    "As the checkpoint has them. What the device did after its data was read is in no checkpoint: " +
      "that, the calls and their latencies are in a trace of the save (--trace).",
    ["device", "phase", "transactions", "bytes", "time", "rate"],
    phases.map(({ device, phase, transactions, bytes: moved, seconds }) => [
      ...[String(device), phase, String(transactions), bytes(moved), time(seconds)],
      rate(moved, seconds),
    ]),
  );
}
