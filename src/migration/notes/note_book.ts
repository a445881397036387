/**
 * Notes about a driver on the caller's thread, as they come with the answers.
 */

import { type DriverNote, DriverNotes } from "../../vfio/notes/driver_notes.ts";

/** Collects notes for as long as something goes on. */
export interface NoteWatch extends Disposable {
  /** The notes since it began. */
  list(): readonly DriverNote[];
}

/** A device's notes: all of them, and those of what goes on. */
export class NoteBook {
  readonly #all = new DriverNotes();
  readonly #watches = new Set<DriverNotes>();
  #watched = false;

  /** Takes what came with an answer. */
  receive(notes: readonly DriverNote[]): void {
    if (notes.length === 0) return;
    for (const each of [this.#all, ...this.#watches]) each.merge(notes);
  }

  /** All since the device was opened. */
  list(): readonly DriverNote[] {
    return this.#all.list();
  }

  /** Collects from now on, until it is disposed of; the first one has what was noted before, too. */
  watch(): NoteWatch {
    const notes = new DriverNotes();
    if (!this.#watched) notes.merge(this.#all.list());
    this.#watched = true;
    this.#watches.add(notes);
    return {
      list: () => notes.list(),
      [Symbol.dispose]: () => void this.#watches.delete(notes),
    };
  }
}
