/**
 * Saving, restoring and verifying, against C and cat.
 *
 * The device is a file (see _region_file.ts). Every run is a process of its
 * own, ours warmed up by nothing, as on the command line.
 */

import * as fs from "node:fs";
import { pipeline, run, type Timed, timed, wallSeconds } from "./_command.ts";
import { compile } from "./_compile.ts";
import { interleave } from "./_measure.ts";
import type { RowName } from "./options.ts";
import { STATE_BYTES, writeData, writeRegion } from "./_region_file.ts";
import { rateRow, type Row } from "./_row.ts";
import { type Runtime, script } from "./_runtime.ts";

/** One save or restore. */
interface Transfer {
  /** What it does, for the table. */
  readonly what: string;
  /** The action of _transfer.ts. */
  readonly action: string;
  /** The action of the C program. */
  readonly yardstick: string;
  /** Whether the checkpoint goes or comes through a pipe. */
  readonly piped: boolean;
  /** The size of a transaction; null for a v2 device. */
  readonly size: number | null;
  /** How near to C it should be. */
  readonly least: number;
}

const MIB = 1 << 20;

const TRANSFERS: Partial<Record<RowName, readonly Transfer[]>> = {
  "save-1m": [{
    what: "save to a file, 1 MiB",
    action: "save",
    yardstick: "save",
    piped: false,
    size: MIB,
    least: 1.1,
  }],
  "save-4k": [{
    what: "save to a file, 4 KiB",
    action: "save",
    yardstick: "save",
    piped: false,
    size: 4096,
    least: 0.8,
  }],
  "save-pipe": [{
    what: "save to a pipe, 1 MiB",
    action: "save",
    yardstick: "save",
    piped: true,
    size: MIB,
    least: 1,
  }],
  "restore-file": [{
    what: "restore from a file, 1 MiB",
    action: "restore",
    yardstick: "restore",
    piped: false,
    size: MIB,
    least: 1.1,
  }],
  "restore-pipe": [{
    what: "restore from a pipe, 1 MiB",
    action: "restore",
    yardstick: "restore",
    piped: true,
    size: MIB,
    least: 1,
  }],
  "restore-4k": [{
    what: "restore from a pipe, 4 KiB",
    action: "restore",
    yardstick: "restore",
    piped: true,
    size: 4096,
    least: 0.8,
  }],
  "save-v2": [{
    what: "v2: save to a file, 1 MiB",
    action: "save-v2",
    yardstick: "save-v2",
    piped: false,
    size: null,
    least: 1.1,
  }],
  "restore-v2": [{
    what: "v2: restore from a pipe, 1 MiB",
    action: "restore-v2",
    yardstick: "restore-v2",
    piped: true,
    size: null,
    least: 1,
  }],
  "streams": [
    {
      what: "save over Web streams to a file, 1 MiB",
      action: "save-streams",
      yardstick: "save",
      piped: false,
      size: MIB,
      least: 0.7,
    },
    {
      what: "restore over Web streams from a pipe, 1 MiB",
      action: "restore-streams",
      yardstick: "restore",
      piped: true,
      size: MIB,
      least: 0.7,
    },
    {
      what: "restore over Web streams from a file, 1 MiB",
      action: "restore-streams",
      yardstick: "restore",
      piped: false,
      size: MIB,
      least: 0.7,
    },
  ],
};

/** How near two devices should come to two C programs that write one file. */
const TWO_DEVICES_LEAST = 0.9;

/** Where the second C program begins to write in a file that two share: behind all of the first. */
const SECOND_RANGE = STATE_BYTES + 64 * MIB;

/** How near a save with a trace should come to one without. */
const TRACED_LEAST = 0.95;

/** How near verify should come to cat. */
const VERIFY_LEAST = 0.7;

/** What of the CRC's own speed counts as that speed: the bytes have to be read as well. */
const CRC_LEAST = 0.9;

/** A folder to measure in, with the C program and what it works on. */
export class TransferBench {
  readonly #folder: string;
  readonly #rounds: number;
  /** Two devices, and a checkpoint. */
  readonly #regions: readonly [string, string];
  readonly #file: string;
  #program: Promise<string> | null = null;

  constructor(folder: string, rounds: number) {
    this.#folder = folder;
    this.#rounds = rounds;
    this.#regions = [`${folder}/region`, `${folder}/region2`];
    this.#file = `${folder}/state.vfk`;
  }

  /** The rows of this name in a runtime; needs room for 4 GiB in the folder. */
  async rows(runtime: Runtime, name: RowName): Promise<Row[]> {
    const program = await (this.#program ??= this.#begin());
    if (name === "verify") return [await this.#verifyRow(runtime)];
    if (name === "traced") return [await this.#tracedRow(runtime)];
    if (name === "two-devices") return await this.#twoDevicesRows(runtime, program);
    const rows: Row[] = [];
    for (const transfer of TRANSFERS[name] ?? []) {
      rows.push(await this.#transferRow(runtime, program, transfer));
    }
    return rows;
  }

  async #begin(): Promise<string> {
    // Memory or disk may be slow when it is first used, so it is used before anything counts.
    const fd = fs.openSync(this.#file, "wx");
    const chunk = new Uint8Array(new ArrayBuffer(MIB)).fill(1);
    for (let done = 0; done < 4 * STATE_BYTES; done += chunk.length) fs.writeSync(fd, chunk);
    fs.closeSync(fd);
    fs.rmSync(this.#file);
    return await compile("checkpoint", this.#folder, "-march=native");
  }

  #ours(runtime: Runtime, ...args: readonly string[]): readonly string[] {
    return script(runtime, "./_transfer.ts", ...args);
  }

  /** Runs programs that write files which are new each time. */
  async #writing(files: readonly string[], ...programs: string[][]): Promise<Timed> {
    try {
      return await timed(...programs);
    } finally {
      for (const file of files) fs.rmSync(file, { force: true });
    }
  }

  async #transferRow(runtime: Runtime, program: string, transfer: Transfer): Promise<Row> {
    const { what, action, yardstick, piped, size, least } = transfer;
    const [region] = this.#regions;
    if (size === null) writeData(region);
    else writeRegion(region, STATE_BYTES, size);
    const ours = this.#ours(runtime, action, region);
    const theirs = [program, yardstick, region];
    const saves = action.startsWith("save");
    if (saves) await this.#checkYardstick(runtime, theirs);
    else await timed([program, yardstick.replace("restore", "save"), region, this.#file]);
    let best: Timed | null = null;
    const once = async (words: readonly string[]): Promise<Timed> => {
      if (saves) {
        return piped
          ? await timed(pipeline([...words, "-"], ["sh", "-c", "cat >/dev/null"]))
          : await this.#writing([this.#file], [...words, this.#file]);
      }
      return await timed(
        piped ? pipeline(["cat", this.#file], [...words, "-"]) : [...words, this.#file],
      );
    };
    const pair = await interleave(this.#rounds, {
      theirs: async () => (await once(theirs)).seconds,
      ours: async () => {
        const run = await once(ours);
        if (best === null || run.seconds < best.seconds) best = run;
        return run.seconds;
      },
    });
    fs.rmSync(this.#file, { force: true });
    const row = rateRow(`${runtime.name}: ${what}`, "C", STATE_BYTES, pair, least);
    return { ...row, note: describe(best!) };
  }

  /** What C saves must be a checkpoint: else it would have less to do. */
  async #checkYardstick(runtime: Runtime, save: readonly string[]): Promise<void> {
    await timed([...save, this.#file]);
    await run(this.#ours(runtime, "verify", this.#file));
    fs.rmSync(this.#file);
  }

  /** A save with a trace, against the same save without. */
  async #tracedRow(runtime: Runtime): Promise<Row> {
    const [region] = this.#regions;
    writeRegion(region, STATE_BYTES, MIB);
    const seconds = async (action: string): Promise<number> => {
      const files = [this.#file, `${this.#file}.jsonl`];
      const words = [...this.#ours(runtime, action, region, this.#file)];
      return (await this.#writing(files, words)).seconds;
    };
    const pair = await interleave(this.#rounds, {
      theirs: () => seconds("save"),
      ours: () => seconds("save-traced"),
    });
    const what = `${runtime.name}: save to a file with a trace, 1 MiB`;
    return rateRow(what, "untraced", STATE_BYTES, pair, TRACED_LEAST);
  }

  async #twoDevicesRows(runtime: Runtime, program: string): Promise<Row[]> {
    const [first, second] = this.#regions;
    for (const region of this.#regions) writeRegion(region, STATE_BYTES, MIB);
    const other = `${this.#file}2`;
    const save = (region: string, ...to: string[]): string[] => [program, "save", region, ...to];
    const least = await interleave(this.#rounds, {
      ours: async () => {
        const ours = [...this.#ours(runtime, "save", first, second, this.#file)];
        return (await this.#writing([this.#file], ours)).seconds;
      },
      oneFile: async () => {
        fs.writeFileSync(this.#file, "");
        const programs = [
          save(first, this.#file, "0"),
          save(second, this.#file, String(SECOND_RANGE)),
        ];
        return (await this.#writing([this.#file], ...programs)).seconds;
      },
      twoFiles: async () => {
        const programs = [save(first, this.#file), save(second, other)];
        return (await this.#writing([this.#file, other], ...programs)).seconds;
      },
    });
    const row = (yardstick: string, theirs: number, atLeast: number | null): Row =>
      rateRow(
        `${runtime.name}: save of two devices to one file`,
        yardstick,
        2 * STATE_BYTES,
        { ours: least.ours, theirs },
        atLeast,
      );
    return [
      row("two C to one file", least.oneFile, TWO_DEVICES_LEAST),
      row("two C to two files", least.twoFiles, null),
    ];
  }

  async #verifyRow(runtime: Runtime): Promise<Row> {
    const program = await this.#program!;
    const [region] = this.#regions;
    writeRegion(region, STATE_BYTES, MIB);
    await timed([program, "save", region, this.#file]);
    const bytes = fs.statSync(this.#file).size;
    const least = await interleave(this.#rounds, {
      cat: () => wallSeconds(["sh", "-c", 'cat "$1" >/dev/null', "sh", this.#file]),
      crc: async () => (await timed(this.#ours(runtime, "crc", String(bytes)))).seconds,
      ours: async () => (await timed(this.#ours(runtime, "verify", this.#file))).seconds,
    });
    fs.rmSync(this.#file);
    const pair = { ours: least.ours, theirs: least.cat };
    const row = rateRow(`${runtime.name}: verify`, "cat >/dev/null", bytes, pair, VERIFY_LEAST);
    const ofCrc = least.crc / least.ours;
    return {
      ...row,
      met: row.met === true || ofCrc >= CRC_LEAST,
      note: `${ofCrc.toFixed(2)} of the CRC alone, ${Math.round(bytes / least.crc / 1e6)} MB/s`,
    };
  }
}

/** What there was to do beside moving the bytes; null for nothing. */
function describe({ seconds, readBack, all }: Timed): string | null {
  if (all === seconds) return null;
  const apart = readBack > 0 ? `, read back in ${readBack.toFixed(2)} s` : "";
  return `${seconds.toFixed(2)} s${apart}, ${all.toFixed(2)} s in all`;
}
