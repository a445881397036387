/**
 * Saving to a file, restoring from a pipe and verifying, against C, dd and cat.
 *
 * The device is a file (see _region_file.ts). Every run is a process of its
 * own, ours warmed up by nothing, as on the command line.
 */

import * as fs from "node:fs";
import { output, piped, printedNumber, wallSeconds } from "./_command.ts";
import { compile } from "./_compile.ts";
import { interleave } from "./_measure.ts";
import { STATE_BYTES, writeData, writeRegion } from "./_region_file.ts";
import { rateRow, type Row } from "./_row.ts";

/** The transactions that it comes in, and how near to C we want to be. */
const SIZES: readonly { readonly name: string; readonly bytes: number; readonly least: number }[] =
  [
    { name: "1 MiB", bytes: 1 << 20, least: 0.85 },
    { name: "4 KiB", bytes: 4096, least: 0.5 },
  ];

/** As near to C we want to be with a v2 device, which is read by the MiB whatever it has. */
const V2_LEAST = 0.85;
const VERIFY_LEAST = 0.5;
const VERIFY_ENOUGH = 2e9;

/** What runs our side. */
export interface Runtime {
  /** Its name. */
  readonly name: string;
  /** Whether the targets are meant for it. */
  readonly judged: boolean;
  /** How to run a TypeScript file in it. */
  readonly words: readonly string[];
}

/** A folder to measure in, with the C program and what it works on. */
class Bench {
  readonly #folder: string;
  readonly #program: string;
  readonly #rounds: number;
  readonly #region: string;
  readonly #file: string;

  constructor(folder: string, program: string, rounds: number) {
    this.#folder = folder;
    this.#program = program;
    this.#rounds = rounds;
    this.#region = `${folder}/region`;
    this.#file = `${folder}/state.vfk`;
  }

  /** Memory or disk may be slow when it is first used, so it is used before anything counts. */
  touch(): void {
    const fd = fs.openSync(this.#file, "wx");
    const chunk = new Uint8Array(new ArrayBuffer(1 << 20)).fill(1);
    for (let done = 0; done < 2 * STATE_BYTES; done += chunk.length) fs.writeSync(fd, chunk);
    fs.closeSync(fd);
    fs.rmSync(this.#file);
  }

  #c(action: string): readonly string[] {
    return [this.#program, action, this.#region];
  }

  #ours({ words }: Runtime, ...args: readonly string[]): readonly string[] {
    return [...words, new URL("./_transfer.ts", import.meta.url).pathname, ...args];
  }

  /** Seconds of a save to a file that is new each time. */
  async #save(words: readonly string[], keep = false): Promise<number> {
    try {
      return await printedNumber([...words, this.#file]);
    } finally {
      if (!keep) fs.rmSync(this.#file, { force: true });
    }
  }

  /** Rows for one size of transaction. */
  async rows(runtime: Runtime, size: typeof SIZES[number]): Promise<Row[]> {
    const { name, judged } = runtime;
    const least = judged ? size.least : null;
    const ours = this.#ours(runtime, "save", this.#region);
    writeRegion(this.#region, STATE_BYTES, size.bytes);
    const save = await interleave(
      this.#rounds,
      () => this.#save(ours),
      () => this.#save(this.#c("save")),
    );
    await this.#checkYardstick(runtime);
    await this.#save(ours, true);
    const restore = await interleave(
      this.#rounds,
      () => printedNumber(piped(this.#file, this.#ours(runtime, "restore", this.#region))),
      () => printedNumber(piped(this.#file, this.#c("restore"))),
    );
    const rows = [
      rateRow(`${name}: save to a file, ${size.name}`, "C", STATE_BYTES, save, least),
      rateRow(`${name}: restore from a pipe, ${size.name}`, "C", STATE_BYTES, restore, least),
    ];
    if (size === SIZES[0] && judged) {
      rows.push(await this.#againstDd(save.ours), await this.#verifyRow(runtime));
    }
    fs.rmSync(this.#file);
    return rows;
  }

  /** Rows for a v2 device. */
  async v2Rows(runtime: Runtime): Promise<Row[]> {
    const { name, judged } = runtime;
    const least = judged ? V2_LEAST : null;
    writeData(this.#region);
    const ours = this.#ours(runtime, "save-v2", this.#region);
    const save = await interleave(
      this.#rounds,
      () => this.#save(ours),
      () => this.#save(this.#c("save-v2")),
    );
    await this.#checkYardstick(runtime, "save-v2");
    await this.#save(ours, true);
    const restore = await interleave(
      this.#rounds,
      () => printedNumber(piped(this.#file, this.#ours(runtime, "restore-v2", this.#region))),
      () => printedNumber(piped(this.#file, this.#c("restore-v2"))),
    );
    fs.rmSync(this.#file);
    return [
      rateRow(`${name}: save to a file, v2`, "C", STATE_BYTES, save, least),
      rateRow(`${name}: restore from a pipe, v2`, "C", STATE_BYTES, restore, least),
    ];
  }

  /** What C saves must be a checkpoint: else it would have less to do. */
  async #checkYardstick(runtime: Runtime, action = "save"): Promise<void> {
    await this.#save(this.#c(action), true);
    await output(this.#ours(runtime, "verify", this.#file));
    fs.rmSync(this.#file);
  }

  /** The same bytes copied by dd. */
  async #againstDd(ours: number): Promise<Row> {
    const copy = `${this.#folder}/copy.vfk`;
    const words = ["dd", `if=${this.#file}`, `of=${copy}`, "bs=1M", "status=none"];
    const pair = await interleave(this.#rounds, () => ours, async () => {
      const seconds = await wallSeconds(words);
      fs.rmSync(copy);
      return seconds;
    });
    return rateRow("Deno: save to a file, 1 MiB", "dd bs=1M", STATE_BYTES, pair);
  }

  async #verifyRow(runtime: Runtime): Promise<Row> {
    const bytes = fs.statSync(this.#file).size;
    const pair = await interleave(
      this.#rounds,
      () => printedNumber(this.#ours(runtime, "verify", this.#file)),
      () => wallSeconds(["sh", "-c", 'cat "$1" >/dev/null', "sh", this.#file]),
    );
    const row = rateRow("Deno: verify", "cat >/dev/null", bytes, pair, VERIFY_LEAST);
    return {
      ...row,
      target: `≥ ${VERIFY_LEAST} or 2000 MB/s`,
      met: row.met === true || bytes / pair.ours >= VERIFY_ENOUGH,
    };
  }
}

/** All rows of these runtimes; needs room for 2 GiB in `folder`. */
export async function transferRows(
  folder: string,
  runtimes: readonly Runtime[],
  rounds: number,
): Promise<Row[]> {
  const bench = new Bench(folder, await compile("checkpoint", folder, "-march=native"), rounds);
  bench.touch();
  const rows: Row[] = [];
  for (const runtime of runtimes) {
    for (const size of SIZES) rows.push(...await bench.rows(runtime, size));
    rows.push(...await bench.v2Rows(runtime));
  }
  return rows;
}
