/**
 * Samples of dirty pages, as `dirty watch --json` prints them and `dirty forecast` reads them: one
 * line per round, each complete by itself.
 *
 * @module
 */

import type { DirtyRun } from "../../src/dirty/mod.ts";

/** The name of the schema. */
const SCHEMA = "vfiokit/dirty-sample/1";

/** Maximum number of runs in a line; `omittedRuns` counts the others. */
export const MAX_RUNS = 16384;

/** One read of the dirty pages. */
export interface Sample {
  /** Number of the read, from 1 on. */
  readonly round: number;
  /** Time in seconds since tracking began. */
  readonly time: number;
  /** Seconds since the previous read. */
  readonly seconds: number;
  /** Page size in bytes. */
  readonly pgsize: number;
  /** The tracked memory. */
  readonly mappings: readonly DirtyRun[];
  /** Dirty pages. */
  readonly pages: number;
  /** Pages that were dirty in this or an earlier round. */
  readonly distinctPages: number;
  /** Dirty pages that a driver holds pinned; null if not known yet. */
  readonly pinnedPages: number | null;
  /** The dirty pages. */
  readonly runs: readonly DirtyRun[];
  /** Runs that are not in the list. */
  readonly omittedRuns: number;
  /** Remarks about this round. */
  readonly notes: readonly string[];
}

/** The error for a line that is not a sample. */
export class SamplesError extends Error {
  /** Always `SamplesError`. */
  override readonly name = "SamplesError";
}

/** A sample as a line of JSON: addresses are hex strings, other values numbers. */
export function sampleFields(sample: Sample): Record<string, unknown> {
  const { round, time, seconds, pgsize, pages, distinctPages, pinnedPages } = sample;
  const bytes = pages * pgsize;
  return {
    schema: SCHEMA,
    round,
    time: microseconds(time),
    seconds: microseconds(seconds),
    pgsize,
    mappings: sample.mappings.map(pair),
    pages,
    bytes,
    bytesPerSecond: seconds > 0 ? Math.round(bytes / seconds) : null,
    distinctPages,
    pinnedPages,
    runs: sample.runs.map(pair),
    omittedRuns: sample.omittedRuns,
    notes: sample.notes,
  };
}

function microseconds(seconds: number): number {
  return Number(seconds.toFixed(6));
}

/** A range as JSON shows it. */
export function pair({ iova, size }: DirtyRun): readonly [iova: string, bytes: number] {
  return [`0x${iova.toString(16)}`, Number(size)];
}

/**
 * Reads lines of samples. They must be of the same memory and in order.
 *
 * @param file What the lines are from, for the messages.
 * @throws {SamplesError} If there is none, or if a line is not a sample; the message names the
 * line.
 */
export function parseSamples(text: string, file = "stdin"): Sample[] {
  const samples: Sample[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    try {
      const sample = parseSample(line);
      const before = samples.at(-1);
      if (before !== undefined) follows(before, sample);
      samples.push(sample);
    } catch (error) {
      const what = samples.length === 0 && error instanceof SyntaxError
        ? `Cannot forecast from ${file}: it is not the output of dirty watch --json`
        : `Cannot use ${file}, line ${index + 1}: ${(error as Error).message}`;
      throw new SamplesError(what, { cause: error });
    }
  }
  if (samples.length === 0) {
    throw new SamplesError(`Cannot find any sample in ${file}: there is no line`);
  }
  return samples;
}

function parseSample(line: string): Sample {
  const value: unknown = JSON.parse(line);
  const fields = new Fields(value);
  const schema = fields.get("schema");
  if (schema !== SCHEMA) {
    throw new SamplesError(`its schema is ${JSON.stringify(schema)}, not "${SCHEMA}"`);
  }
  const pgsize = fields.count("pgsize");
  if (pgsize === 0 || !Number.isInteger(Math.log2(pgsize))) {
    throw new SamplesError(`"pgsize" is ${pgsize}, no power of two`);
  }
  const sample: Sample = {
    round: fields.count("round"),
    time: fields.number("time"),
    seconds: fields.number("seconds"),
    pgsize,
    mappings: fields.ranges("mappings", pgsize),
    pages: fields.count("pages"),
    distinctPages: fields.count("distinctPages"),
    pinnedPages: fields.get("pinnedPages") === null ? null : fields.count("pinnedPages"),
    runs: fields.ranges("runs", pgsize),
    omittedRuns: fields.count("omittedRuns"),
    notes: fields.strings("notes"),
  };
  if (sample.seconds === 0) throw new SamplesError('"seconds" is 0');
  checkRuns(sample);
  return sample;
}

/** One JSON object, its fields checked as they are taken. */
class Fields {
  readonly #object: Readonly<Record<string, unknown>>;

  constructor(value: unknown) {
    if (typeof value !== "object" || value === null) throw new SamplesError("it is no object");
    this.#object = value as Readonly<Record<string, unknown>>;
  }

  get(name: string): unknown {
    return this.#object[name];
  }

  number(name: string): number {
    const value = this.get(name);
    if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
    throw new SamplesError(`"${name}" is ${JSON.stringify(value)}, no number from 0 on`);
  }

  count(name: string): number {
    const value = this.number(name);
    if (Number.isSafeInteger(value)) return value;
    throw new SamplesError(`"${name}" is ${value}, no whole number`);
  }

  strings(name: string): readonly string[] {
    const value = this.get(name);
    if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
    throw new SamplesError(`"${name}" is no list of strings`);
  }

  ranges(name: string, pgsize: number): readonly DirtyRun[] {
    const value = this.get(name);
    if (!Array.isArray(value)) throw new SamplesError(`"${name}" is no list`);
    let end = -1n;
    return value.map((item): DirtyRun => {
      const range = parseRange(item, BigInt(pgsize));
      if (range === null) {
        throw new SamplesError(`"${name}" has ${JSON.stringify(item)}, no [iova, bytes] of pages`);
      }
      if (range.iova < end) throw new SamplesError(`"${name}" is not in ascending order`);
      end = range.iova + range.size;
      return range;
    });
  }
}

function parseRange(item: unknown, pgsize: bigint): DirtyRun | null {
  const [iova, bytes] = Array.isArray(item) && item.length === 2 ? item : [];
  if (typeof iova !== "string" || !/^0x[0-9a-f]{1,16}$/.test(iova)) return null;
  if (!Number.isSafeInteger(bytes) || bytes <= 0) return null;
  const range = { iova: BigInt(iova), size: BigInt(bytes) };
  const aligned = range.iova % pgsize === 0n && range.size % pgsize === 0n;
  return aligned && range.iova + range.size <= 1n << 64n ? range : null;
}

/** Checks that the runs lie in the mappings and have as many pages as the sample says. */
function checkRuns({ mappings, runs, omittedRuns, pages, pgsize }: Sample): void {
  let at = 0;
  let bytes = 0n;
  for (const { iova, size } of runs) {
    while (at < mappings.length && mappings[at]!.iova + mappings[at]!.size <= iova) at++;
    const mapping = mappings[at];
    if (mapping === undefined || iova < mapping.iova || iova + size > mapping.iova + mapping.size) {
      throw new SamplesError(`"runs" has 0x${iova.toString(16)}, which is in none of "mappings"`);
    }
    bytes += size;
  }
  const listed = Number(bytes / BigInt(pgsize));
  if (omittedRuns === 0 ? listed !== pages : listed >= pages) {
    throw new SamplesError(`"pages" is ${pages}, yet "runs" has ${listed}`);
  }
}

function follows(before: Sample, sample: Sample): void {
  if (sample.time <= before.time || sample.round <= before.round) {
    throw new SamplesError(`round ${sample.round} does not follow round ${before.round}`);
  }
  const memory = ({ pgsize, mappings }: Sample): string =>
    JSON.stringify([pgsize, mappings.map(pair)]);
  if (memory(before) !== memory(sample)) {
    throw new SamplesError("it is of other memory than the line before");
  }
}
