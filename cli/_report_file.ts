/**
 * The file of `dirty watch --report`: opened before anything is done, written
 * at the end, whatever happened in between.
 *
 * @module
 */

import { closeSync, openSync, writeFileSync } from "node:fs";
import type { Round } from "./_rounds.ts";
import type { MemoryMap } from "./_memory_map.ts";
import type { Report, ReportSubject } from "./report/report.ts";

/** A report that is written when it is closed. */
export class ReportFile implements Disposable {
  readonly #fd: number;
  readonly #report: Report;
  readonly #subject: ReportSubject;

  private constructor(fd: number, report: Report, subject: ReportSubject) {
    this.#fd = fd;
    this.#report = report;
    this.#subject = subject;
  }

  /** Opens the file; what was in it is gone. */
  static async open(path: string, map: MemoryMap, subject: ReportSubject): Promise<ReportFile> {
    const { Report } = await import("./report/report.ts");
    return new ReportFile(openSync(path, "w"), new Report(map), subject);
  }

  /** Adds a round. */
  add({ sample, forEachRun }: Round): void {
    this.#report.add(sample, forEachRun);
  }

  /** Writes the report, at the end of a `using` block. */
  [Symbol.dispose](): void {
    try {
      writeFileSync(this.#fd, this.#report.html(this.#subject));
    } finally {
      closeSync(this.#fd);
    }
  }
}
