/**
 * Notes about a driver on the caller's thread, as they arrive with the answers.
 */

import { type DriverNote, DriverNotes } from "../../vfio/notes/driver_notes.ts";

/** Collects the notes of one piece of work. */
export interface NoteWatch extends Disposable {
  /** The notes since it started. */
  list(): readonly DriverNote[];
}

/** A device's notes: all of them, and those of the work under way. */
export class NoteBook {
  readonly #all = new DriverNotes();
  readonly #watches = new Set<DriverNotes>();
  #watched = false;

  /** Takes the notes of an answer. */
  receive(notes: readonly DriverNote[]): void {
    if (notes.length === 0) return;
    for (const each of [this.#all, ...this.#watches]) each.merge(notes);
  }

  /** All notes since the device was opened. */
  list(): readonly DriverNote[] {
    return this.#all.list();
  }

  /** Collects from now on until it is disposed; the first collection also has the earlier notes. */
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
