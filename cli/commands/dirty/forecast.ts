/**
 * `vfiokit dirty forecast`: would pre-copy converge?
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import process from "node:process";
import { type Forecast, forecast } from "../../../src/dirty/mod.ts";
import { CANNOT, DONE } from "../../exit_codes.ts";
import type { Context } from "../../context.ts";
import { bytes, count, rate, time } from "../../output/format.ts";
import { MemoryMap } from "../../dirty/memory_map.ts";
import { parseSamples, type Sample } from "../../dirty/samples.ts";
import { table } from "../../output/table.ts";
import { UsageError } from "../../usage_error.ts";
import type { DirtyForecastArgs } from "../../specs/dirty_unmap.ts";

/** More rounds than this are not listed one by one. */
const LISTED_ROUNDS = 12;

/** Runs `dirty forecast`. */
export async function run(args: DirtyForecastArgs, context: Context): Promise<number> {
  if (args.bandwidth === 0) throw new UsageError("Cannot forecast: the bandwidth is 0");
  if (args.downtime === 0) throw new UsageError("Cannot forecast: the downtime is 0");
  const samples = parseSamples(
    await context.until(read(args.file)),
    args.file === "-" ? undefined : args.file,
  );
  const map = new MemoryMap(samples[0]!.mappings, samples[0]!.pgsize);
  const options = {
    memory: map.bytes,
    pgsize: map.pgsize,
    bandwidth: args.bandwidth,
    downtime: args.downtime / 1000,
  };
  const found = forecast(samples.map(measured), options);
  const notes = notesOf(samples);
  context.set({
    converges: found.converges,
    memoryBytes: map.bytes,
    bandwidth: args.bandwidth,
    downtimeLimit: options.downtime,
    rounds: found.rounds,
    seconds: found.seconds,
    downtime: found.downtime,
    requiredBandwidth: found.requiredBandwidth,
    samples: samples.length,
    notes,
  });
  const { bandwidth, downtime } = options;
  context.print(
    `${bytes(map.bytes)} of memory at ${rate(bandwidth, 1)} (${gigabits(bandwidth)}), with a ` +
      `downtime of up to ${time(downtime)}:`,
    ...verdict(found),
  );
  if (found.rounds.length > 0) context.print(...roundTable(found));
  context.print(required(found));
  context.note(...notes);
  if (found.converges) return DONE;
  context.failed("does-not-converge", verdict(found).join(" "));
  return CANNOT;
}

/** All of a file, a fifo or stdin; its writer may be slow. */
async function read(file: string): Promise<string> {
  if (file !== "-") return await readFile(file, "utf8");
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of process.stdin) text += decoder.decode(chunk, { stream: true });
  return text + decoder.decode();
}

function measured(sample: Sample): Parameters<typeof forecast>[0][number] {
  const { seconds, pages, runs, omittedRuns } = sample;
  return { seconds, pages, runs: omittedRuns === 0 ? runs : null };
}

/** What is to be known about the samples. */
function notesOf(samples: readonly Sample[]): string[] {
  const notes = new Set(samples.flatMap(({ notes }) => notes));
  const capped = samples.filter(({ omittedRuns }) => omittedRuns > 0).length;
  if (capped > 0) {
    notes.add(
      `${count(capped, "round")} had more runs than a sample lists: their pages count as new ones`,
    );
  }
  return [...notes];
}

function verdict({ converges, rounds, seconds, downtime }: Forecast): string[] {
  if (!converges) {
    return [`Pre-copy does not converge: what is left would take ${time(downtime)}.`];
  }
  return rounds.length === 0 ? [`Pre-copy is not needed: all of it takes ${time(downtime)}.`] : [
    `Pre-copy converges in ${count(rounds.length, "round")}, ${time(seconds)}; the device then ` +
    `stands still for ${time(downtime)}.`,
  ];
}

function required({ requiredBandwidth }: Forecast): string {
  return requiredBandwidth === 0
    ? "Nothing was dirtied: it converges at any bandwidth."
    : `It converges from ${rate(requiredBandwidth, 1)} on (${gigabits(requiredBandwidth)}).`;
}

function gigabits(bytesPerSecond: number): string {
  const bits = bytesPerSecond * 8;
  const [unit, size] = bits < 1e6 ? ["Kbit", 1e3] : bits < 1e9 ? ["Mbit", 1e6] : ["Gbit", 1e9];
  return `${Number((bits / (size as number)).toPrecision(3))} ${unit}/s`;
}

function roundTable({ rounds }: Forecast): string[] {
  const right = "right" as const;
  const listed = rounds.length > LISTED_ROUNDS
    ? [...rounds.slice(0, LISTED_ROUNDS - 1), rounds.at(-1)!]
    : rounds;
  return table(
    [
      { head: "round", align: right },
      { head: "sent", align: right },
      { head: "time", align: right },
      { head: "dirtied meanwhile", align: right },
    ],
    listed.map((round) => [
      String(rounds.indexOf(round) + 1),
      bytes(round.bytes),
      time(round.seconds),
      bytes(round.dirtied),
    ]),
  );
}
