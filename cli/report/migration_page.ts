/**
 * The report of `migrate --report`: one HTML page that needs no network.
 *
 * @module
 */

import { type Forecast, forecast, type MeasuredRound } from "../../src/dirty/mod.ts";
import type { DowntimeStep, MigrateProgress, MigrateReport } from "../../src/live/mod.ts";
import type { MemoryMap } from "../dirty/memory_map.ts";
import type { WatchRound } from "../dirty/rounds.ts";
import { bytes, rate, time } from "../output/format.ts";
import { chartScripts, chartStyle, DirtyCharts } from "./_dirty_charts.ts";
import { lineChart } from "./_svg.ts";
import { escape, noteList, page, section, table, tiles, waterfall } from "./html.ts";
import pageStyle from "./page.css" with { type: "text" };
import timelineStyle from "./timeline.css" with { type: "text" };

/** What is known of a device's memory. */
export interface MovedMemory {
  /** The device's name. */
  readonly device: string;
  /** Its memory; null if no tracker was read. */
  readonly map: MemoryMap | null;
  /** The readings of its tracker. */
  readonly rounds: readonly WatchRound[];
}

/** What the report is about. */
export interface MovedSubject {
  /** Where it went. */
  readonly to: string;
  /** When it began. */
  readonly started: Date;
  /** What wrote the report. */
  readonly tool: string;
  /** The downtime that was allowed, in milliseconds. */
  readonly allowedMs: number;
  /** The rounds that were allowed. */
  readonly maxRounds: number;
  /** The devices. */
  readonly memory: readonly MovedMemory[];
  /** What was known at the end. */
  readonly last: MigrateProgress;
  /** How it went; null if it failed. */
  readonly report: MigrateReport | null;
  /** Why it failed; null if it did not. */
  readonly failure: string | null;
}

/** The class of each step of the downtime, which has a colour. */
const KINDS: Readonly<Record<DowntimeStep["step"], string>> = {
  quiesce: "wait",
  stop: "arc",
  memory: "memory",
  "device data": "data",
  verify: "wait",
  commit: "commit",
};

/** The page. */
export function migrationPage(subject: MovedSubject): string {
  const { memory, last, report, failure } = subject;
  const title = `Migration of ${memory.map(({ device }) => device).join(", ")}`;
  const tracked = memory.flatMap(({ device, map, rounds }, number) => {
    if (map === null || rounds.length === 0) return [];
    const charts = new DirtyCharts(map, `-${number}`);
    for (const { sample, forEachRun } of rounds) charts.add(sample, forEachRun);
    return [{ device, charts }];
  });
  const foretold = forecastOf(subject);
  const body = [
    `<h1>${escape(title)}</h1>`,
    `<p>${escape(about(subject))}</p>`,
    tilesOf(subject),
    noteList([...(failure === null ? [] : [`It failed: ${failure}`]), ...last.warnings]),
    ...(report === null ? [] : [
      waterfall(
        `No device ran for ${time(report.downtimeSeconds)}; ` +
          `${time(subject.allowedMs / 1000)} were allowed.`,
        report.downtime.map(({ step, seconds }) => ({ name: step, kind: KINDS[step], seconds })),
      ),
    ]),
    ...(last.rounds.length === 0
      ? ["<p>No round was finished.</p>"]
      : [left(last), rounds(last, foretold)]),
    compared(subject, foretold),
    ...tracked.flatMap(({ device, charts }) => [
      `<h2 class="device">Dirty pages of ${escape(device)}</h2>`,
      ...charts.figures(),
      charts.mappings(),
    ]),
    `<footer>Written by ${escape(subject.tool)}.</footer>`,
  ];
  return page({
    title,
    style: chartStyle + pageStyle + timelineStyle,
    body: body.join("\n"),
    data: tracked.map(({ charts }) => charts.data()),
    scripts: tracked.length === 0 ? [] : chartScripts,
  });
}

function about({ to, started, last: { id } }: MovedSubject): string {
  const when = started.toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
  return `To ${to}, from ${when} on; migration ${id}.`;
}

function tilesOf({ last, report, allowedMs }: MovedSubject): string {
  const { memory, zero, same, device } = last.bytes;
  const { rounds } = last;
  const seconds = rounds.reduce((sum, round) => sum + round.seconds, 0);
  return tiles([
    report === null
      ? ["pre-copy", time(seconds), "it was not moved"]
      : ["in all", time(report.seconds), `pre-copy ${time(seconds)}`],
    ...(report === null ? [] : [
      [
        "downtime",
        time(report.downtimeSeconds),
        `allowed: ${time(allowedMs / 1000)}`,
      ] as const,
    ]),
    ["rounds", String(rounds.length), `at ${rate(last.bandwidth, 1)}`],
    ["sent", bytes(last.sent), "with what describes it"],
    ["memory", bytes(memory), `not sent: ${bytes(zero)} of zeros, ${bytes(same)} unchanged`],
    ["device data", bytes(device), ""],
  ]);
}

/** What was left after each round: of memory, and of all. */
function left({ rounds }: MigrateProgress): string {
  const ends: number[] = [];
  for (const { seconds } of rounds) ends.push((ends.at(-1) ?? 0) + seconds);
  const most = Math.max(...rounds.map((round) => Math.max(round.left, round.dirtied)));
  const begin = { x: 0, y: rounds[0]!.left };
  // One round is a line, too.
  const line = (value: (round: typeof rounds[number]) => number): typeof begin[] => [
    { x: 0, y: value(rounds[0]!) },
    ...rounds.map((round, index) => ({ x: ends[index]!, y: value(round) })),
  ];
  return section(
    "Left after each round",
    `Memory that became dirty meanwhile <i class="pending"></i>, and all that was left, with what ` +
      `the drivers reported as pending <i class="moved"></i>, up to ${bytes(most)}, in ${
        time(ends.at(-1)!)
      }.`,
    lineChart("What was left after each round", [
      { kind: "moved", points: line((round) => round.left) },
      { kind: "pending", points: line((round) => round.dirtied) },
    ]),
  );
}

function rounds({ rounds }: MigrateProgress, foretold: Forecast | null): string {
  return table(
    "Rounds",
    "Each sends what became dirty during the one before.",
    ["round", "sent", "time", "bandwidth", "became dirty", "forecast", "left"],
    rounds.map(({ sent, seconds, dirtied, left }, index) => {
      const round = foretold?.rounds[index];
      return [
        ...[String(index + 1), bytes(sent), time(seconds), rate(sent, seconds)],
        ...[bytes(dirtied), round === undefined ? "-" : bytes(round.dirtied), bytes(left)],
      ];
    }),
  );
}

/** What `dirty forecast` says from the readings of the migration, and what came of it. */
function compared(subject: MovedSubject, foretold: Forecast | null): string {
  const heading = "Forecast and migration";
  if (foretold === null) {
    return section(
      heading,
      "There is no forecast: the tracker gave no rounds to make it from.",
      "",
    );
  }
  const { last: { rounds, expectedDowntimeMs }, report } = subject;
  const seconds = rounds.reduce((sum, round) => sum + round.seconds, 0);
  const memory = report?.downtime.find(({ step }) => step === "memory")?.seconds;
  const enough = foretold.requiredBandwidth === 0
    ? "It converges at any bandwidth."
    : `It converges from ${rate(foretold.requiredBandwidth, 1)} on.`;
  return table(
    heading,
    "What dirty forecast says from these readings, at the bandwidth that was measured, and what " +
      "came of it. A forecast knows neither device data, nor zeros and unchanged pages that are " +
      `not sent, nor the comparing of memory. ${enough}`,
    ["", "converges", "rounds", "pre-copy", "rest of memory", "downtime"],
    [
      [
        "forecast",
        foretold.converges ? "yes" : "no",
        String(foretold.rounds.length),
        time(foretold.seconds),
        time(foretold.downtime),
        time(foretold.downtime),
      ],
      [
        "expected after the last round",
        expectedDowntimeMs! <= subject.allowedMs ? "yes" : "no",
        ...[String(rounds.length), time(seconds), "-"],
        Number.isFinite(expectedDowntimeMs) ? time(expectedDowntimeMs! / 1000) : "unknown",
      ],
      ...(report === null ? [] : [[
        "migration",
        report.downtimeSeconds * 1000 <= subject.allowedMs ? "yes" : "no",
        ...[String(rounds.length), time(seconds), memory === undefined ? "-" : time(memory)],
        time(report.downtimeSeconds),
      ]]),
    ],
  );
}

/** The forecast from the readings of all devices; null if there are none. */
function forecastOf({ memory, last, allowedMs, maxRounds }: MovedSubject): Forecast | null {
  const maps = memory.flatMap(({ map }) => map ?? []);
  const pgsize = Math.min(...maps.map((map) => map.pgsize));
  const measured = measuredRounds(memory, pgsize);
  if (maps.length < memory.length || measured.length === 0) return null;
  if (last.rounds.length === 0 || last.bandwidth === 0 || allowedMs === 0) return null;
  return forecast(measured, {
    memory: maps.reduce((sum, map) => sum + map.bytes, 0),
    pgsize,
    bandwidth: last.bandwidth,
    downtime: allowedMs / 1000,
    maxRounds,
  });
}

/** The rounds of all devices together: their memory is counted one device behind the other. */
function measuredRounds(memory: readonly MovedMemory[], pgsize: number): MeasuredRound[] {
  const measured: MeasuredRound[] = [];
  for (let index = 0; memory.every(({ rounds }) => index < rounds.length); index++) {
    const runs: { readonly iova: bigint; readonly size: bigint }[] = [];
    let before = 0;
    for (const { map, rounds } of memory) {
      rounds[index]!.forEachRun((page, pages) => {
        const [iova, size] = [before + page * map!.pgsize, pages * map!.pgsize];
        runs.push({ iova: BigInt(iova), size: BigInt(size) });
      });
      before += map!.bytes;
    }
    const pages = runs.reduce((sum, { size }) => sum + Number(size), 0) / pgsize;
    const seconds = Math.max(...memory.map(({ rounds }) => rounds[index]!.sample.seconds));
    if (seconds > 0) measured.push({ seconds, pages, runs });
  }
  return measured;
}
