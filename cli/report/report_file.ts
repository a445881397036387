/**
 * The file of `dirty watch --report`: created before the device is opened,
 * written at the end, and in its place only when it is whole.
 *
 * @module
 */

import { PageFile } from "./page_file.ts";
import type { Context } from "../context.ts";
import type { WatchRound } from "../dirty/rounds.ts";
import type { MemoryMap } from "../dirty/memory_map.ts";
import type { Report, ReportSubject } from "./dirty_report.ts";

/** A report and its file. If it is closed before it was written, no file is left. */
export class ReportFile implements AsyncDisposable {
  readonly #file: PageFile;
  #report: Report | null = null;
  #rounds = 0;

  private constructor(file: PageFile) {
    this.#file = file;
  }

  /**
   * Creates the file.
   *
   * @throws {CheckpointFileError} EEXIST if the file exists and `force` is not set; ENOENT, …
   */
  static async create(path: string, force: boolean): Promise<ReportFile> {
    return new ReportFile(await PageFile.create(path, force));
  }

  /** Begins the report of this memory. */
  async begin(map: MemoryMap): Promise<void> {
    const { Report } = await import("./dirty_report.ts");
    this.#report = new Report(map);
  }

  /** Adds a round. */
  add({ sample, forEachRun }: WatchRound): void {
    this.#report!.add(sample, forEachRun);
    this.#rounds++;
  }

  /**
   * Writes the report and prints where it is.
   *
   * @throws {CheckpointFileError} With the errno's name, such as ENOSPC.
   */
  async write(subject: ReportSubject, context: Context): Promise<void> {
    await this.#file.write(this.#report!.html(subject), context);
  }

  /** After a failure: writes what was collected, if anything; reports if that fails, too. */
  async rescue(subject: ReportSubject, context: Context): Promise<void> {
    if (this.#rounds === 0) return;
    try {
      await this.write(subject, context);
    } catch (error) {
      context.note((error as Error).message);
    }
  }

  /** Discards an unwritten report, at the end of a block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]();
  }
}
