/**
 * Notes about a driver: rules that it broke without stopping the work.
 *
 * To add a note, give it a code and a rule in driver_note_rules.ts. Where the code sees it, call
 * `device.notes.add("the-code", () => "what was seen, with its numbers")` on the
 * {@linkcode VfioDevice}. Nothing else is needed: the note is sent to the caller's thread with the
 * answer, and appears in reports, errors, JSON and on stderr. Each code is reported once.
 *
 * @module
 */

import { DRIVER_RULES, type DriverNoteCode, type DriverRule } from "./driver_note_rules.ts";

/** A rule that a driver broke, and that was tolerated. */
export interface DriverNote extends DriverRule {
  /** The stable code of the rule. */
  readonly code: DriverNoteCode;
  /** What was seen, the first time, with its numbers. */
  readonly seen: string;
  /** How often it was seen. */
  readonly count: number;
}

/**
 * Collects notes: one of each code, with a count.
 *
 * @example
 * ```ts
 * import { DriverNotes } from "vfiokit/vfio";
 * import assert from "node:assert/strict";
 *
 * const notes = new DriverNotes();
 * for (const pending of [4096, 8192]) {
 *   notes.add("data-size-zero", () => `data_size was 0 with ${pending} bytes pending`);
 * }
 * const [note] = notes.list();
 * assert.equal(note?.count, 2);
 * assert.equal(note.seen, "data_size was 0 with 4096 bytes pending");
 * ```
 */
export class DriverNotes {
  readonly #notes: Map<DriverNoteCode, { readonly seen: string; count: number }> = new Map();

  /** Adds a note; `seen` is only called the first time. */
  add(code: DriverNoteCode, seen: () => string): void {
    const note = this.#notes.get(code);
    if (note === undefined) this.#notes.set(code, { seen: seen(), count: 1 });
    else note.count += 1;
  }

  /** Appends notes that were collected elsewhere. */
  merge(notes: readonly DriverNote[]): void {
    for (const { code, seen, count } of notes) {
      const note = this.#notes.get(code);
      if (note === undefined) this.#notes.set(code, { seen, count });
      else note.count += count;
    }
  }

  /** All notes, in the order in which they were first seen. */
  list(): DriverNote[] {
    return [...this.#notes].map(([code, note]) => ({ code, ...DRIVER_RULES[code], ...note }));
  }

  /** Returns all notes, as {@linkcode DriverNotes.list} does, and clears them. */
  take(): readonly DriverNote[] {
    if (this.#notes.size === 0) return NONE;
    const notes = this.list();
    this.#notes.clear();
    return notes;
  }
}

const NONE: readonly DriverNote[] = [];
