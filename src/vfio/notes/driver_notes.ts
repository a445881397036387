/**
 * Notes about a driver: what it did against the rules, though the work went on.
 *
 * To add one: give it a code and its rule in driver_note_rules.ts, and where
 * it is seen say `device.notes.add("the-code", () => "what was seen, with its
 * numbers")` on the {@linkcode VfioDevice}. Nothing else: the note goes with
 * the answer to the caller's thread, into reports, errors, JSON and stderr.
 * Each code comes out once, however often it was seen.
 *
 * @module
 */

import { DRIVER_RULES, type DriverNoteCode, type DriverRule } from "./driver_note_rules.ts";

/** Something that a driver did against the rules, and that was tolerated. */
export interface DriverNote extends DriverRule {
  /** Which, as a stable word. */
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
 * import { DriverNotes } from "./driver_notes.ts";
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

  /** Adds one; `seen` is asked only the first time. */
  add(code: DriverNoteCode, seen: () => string): void {
    const note = this.#notes.get(code);
    if (note === undefined) this.#notes.set(code, { seen: seen(), count: 1 });
    else note.count += 1;
  }

  /** Adds notes that were collected elsewhere, after those that are here. */
  merge(notes: readonly DriverNote[]): void {
    for (const { code, seen, count } of notes) {
      const note = this.#notes.get(code);
      if (note === undefined) this.#notes.set(code, { seen, count });
      else note.count += count;
    }
  }

  /** All of them, in the order in which they were first seen. */
  list(): DriverNote[] {
    return [...this.#notes].map(([code, note]) => ({ code, ...DRIVER_RULES[code], ...note }));
  }

  /** As {@linkcode DriverNotes.list}; none are left here. */
  take(): readonly DriverNote[] {
    if (this.#notes.size === 0) return NONE;
    const notes = this.list();
    this.#notes.clear();
    return notes;
  }
}

const NONE: readonly DriverNote[] = [];
