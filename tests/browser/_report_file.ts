/** A report on rounds that were made up. */

import { writeFileSync } from "node:fs";
import { Report } from "../../cli/report/dirty_report.ts";
import { MAP, sampleRounds } from "../cli/_sample_rounds.ts";

/** Writes a report. */
export function writeReport(path: string): void {
  const report = new Report(MAP);
  for (const sample of sampleRounds()) report.add(sample, MAP.numbered(sample.runs));
  writeFileSync(
    path,
    report.html({
      device: "an example device",
      tracker: "type1",
      started: new Date("2026-01-02T03:04:05Z"),
      tool: "vfiokit",
    }),
  );
}
