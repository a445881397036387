/**
 * What both state machines note of the driver.
 */

import type { SysError } from "../../kernel/sys_error.ts";
import type { DriverNotes } from "../../vfio/notes/driver_notes.ts";
import type { StateName } from "../../vfio/state/states.ts";

/** The state could not be read. A device that is gone has no driver to blame. */
export function noteUnreadable(notes: DriverNotes, error: SysError): void {
  if (error.code !== "ENODEV") notes.add("state-read-failed", () => error.message);
}

/** Steps that were refused, and what becomes of them when they are asked for again. */
export class Refusals {
  readonly #notes: DriverNotes;
  #last: { readonly from: StateName; readonly to: StateName; readonly code: string } | null = null;

  constructor(notes: DriverNotes) {
    this.#notes = notes;
  }

  /** A step was refused. */
  refused(from: StateName, to: StateName, { code }: SysError): void {
    this.#last = { from, to, code };
  }

  /** A step was taken: noted, where it is the one that was refused last. */
  taken(from: StateName, to: StateName): void {
    const last = this.#last;
    if (last?.from !== from || last.to !== to) return;
    this.#last = null;
    this.#notes.add(
      "step-refused-once",
      () => `the step from ${from} to ${to} was refused (${last.code}), and taken the next time`,
    );
  }
}
