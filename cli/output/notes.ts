/**
 * Notes about drivers, as JSON and as text.
 *
 * @module
 */

import type { DriverNote } from "../../mod.ts";

/** The notes about a device's driver; a `Device` is one, with the latest notes. */
export interface Noted {
  /** The device's name. */
  readonly name: string;
  /** What its driver did. */
  readonly notes: readonly DriverNote[];
}

/** A note in JSON. */
export interface NoteEntry extends DriverNote {
  /** The number of the device. */
  readonly device: number;
}

/** The notes about these devices, for the document. */
export function noteEntries(devices: readonly Noted[]): NoteEntry[] {
  return devices.flatMap(({ notes }, device) => notes.map((note) => ({ device, ...note })));
}

/** The same as text: what was seen, the rule, and its source. */
export function noteLines(devices: readonly Noted[]): string[] {
  return devices.flatMap(({ name, notes }, device) => {
    const whose = devices.length === 1 ? "the driver" : `device ${device} (${name})`;
    return notes.flatMap((note) => linesOf(whose, note));
  });
}

function linesOf(whose: string, { code, kind, seen, rule, source, count }: DriverNote): string[] {
  const times = count === 1 ? "" : ` (${count} times)`;
  const word = kind === "mistake" ? "rule" : "known practice";
  return [
    `note: ${whose}: ${seen}${times} [${code}]`,
    `  ${word}: ${rule}`,
    `  from: ${source}`,
  ];
}
