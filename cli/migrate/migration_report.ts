/**
 * The file of `migrate --report`: created before a device is opened, in its place only when it is
 * whole. A migration that fails has one, too, if a round was finished.
 *
 * @module
 */

import { VERSION } from "../../src/base/version.ts";
import type { DirtyReading } from "../../src/dirty/mod.ts";
import type { MigrateProgress, MigrateReport } from "../../src/live/mod.ts";
import type { Context } from "../context.ts";
import { MemoryMap } from "../dirty/memory_map.ts";
import { type WatchRound, WatchRounds } from "../dirty/rounds.ts";
import type { MigrateArgs } from "../specs/migrate/migrate.ts";
import { PageFile } from "../report/page_file.ts";

/** What was read of a device's memory. */
class Readings {
  readonly device: string;
  readonly rounds: WatchRound[] = [];
  map: MemoryMap | null = null;
  #rounds: WatchRounds | null = null;

  constructor(device: string) {
    this.device = device;
  }

  add(reading: DirtyReading, seconds: number): void {
    const [first] = reading.ranges;
    if (first === undefined) return;
    if (this.#rounds === null) {
      this.map = new MemoryMap(reading.ranges.map(({ bitmap }) => bitmap), first.bitmap.pgsize);
      this.#rounds = new WatchRounds(this.map);
    }
    this.rounds.push(this.#rounds.add(reading, seconds));
  }
}

/** Collects what the report says. */
export class MigrationReport implements AsyncDisposable {
  readonly #file: PageFile;
  readonly #args: MigrateArgs;
  readonly #readings: readonly Readings[];
  readonly #started = new Date();
  /** When tracking began. */
  #tracked = 0;
  #last: MigrateProgress | null = null;

  private constructor(file: PageFile, args: MigrateArgs) {
    this.#file = file;
    this.#args = args;
    this.#readings = args.devices.map((device) => new Readings(device));
  }

  /**
   * Creates the file; null if none is wanted.
   *
   * @throws {CheckpointFileError} EEXIST if the file exists and `--force` is not given; ENOENT, …
   */
  static async create(args: MigrateArgs): Promise<MigrationReport | null> {
    if (args.report === undefined) return null;
    return new MigrationReport(await PageFile.create(args.report, args.force), args);
  }

  /** Takes what is known now. */
  tell(progress: MigrateProgress): void {
    // Tracking has just begun then.
    const begins = progress.phase === "pre-copy" && this.#last?.phase !== "pre-copy";
    if (begins) this.#tracked = performance.now();
    this.#last = progress;
  }

  /** Takes a reading of a device's tracker. */
  addReading(reading: DirtyReading, device: number): void {
    this.#readings[device]!.add(reading, (performance.now() - this.#tracked) / 1000);
  }

  /** Writes it, and says where it is; a failure is only noted, as the migration stands. */
  async write(
    report: MigrateReport | null,
    failure: string | null,
    context: Context,
  ): Promise<void> {
    const { to = "", downtime, maxRounds } = this.#args;
    const last = this.#last;
    if (last === null || report === null && last.rounds.length === 0) return;
    try {
      const { migrationPage } = await import("../report/migration_page.ts");
      const page = migrationPage({
        ...{ to, allowedMs: downtime, maxRounds, last, report, failure },
        started: this.#started,
        tool: `vfiokit ${VERSION}`,
        memory: this.#readings,
      });
      await this.#file.write(page, context);
    } catch (error) {
      context.note((error as Error).message);
    }
  }

  /** Gives up what was not written. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]();
  }
}
