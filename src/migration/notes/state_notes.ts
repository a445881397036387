/**
 * Notes that both state machines make about the driver.
 */

import type { SysError } from "../../kernel/sys_error.ts";
import type { DriverNotes } from "../../vfio/notes/driver_notes.ts";
import type { StateName } from "../../vfio/state/states.ts";

/** Notes that the state could not be read, unless the device is gone. */
export function noteUnreadable(notes: DriverNotes, error: SysError): void {
  if (error.code !== "ENODEV") notes.add("state-read-failed", () => error.message);
}

/** Notes about steps that were refused and then accepted. */
export class Refusals {
  readonly #notes: DriverNotes;
  #last: { readonly from: StateName; readonly to: StateName; readonly code: string } | null = null;

  constructor(notes: DriverNotes) {
    this.#notes = notes;
  }

  /** Call this when a step was refused. */
  refused(from: StateName, to: StateName, { code }: SysError): void {
    this.#last = { from, to, code };
  }

  /** Call this when a step was taken; makes a note if it is the one that was refused last. */
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
