/**
 * Changes of good bytes: some are changed, lost, repeated or put elsewhere.
 */

import { joined } from "../_joined.ts";
import type { Random } from "./_random.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const HOWS = ["flip", "set", "cut", "drop", "repeat", "move"] as const;

/** A change of some bytes. */
export interface Change {
  readonly how: (typeof HOWS)[number];
  /** Where: a share of all bytes. */
  readonly at: number;
  /** How many bytes. */
  readonly count: number;
  /** What they become, or where they go. */
  readonly value: number;
}

/** Makes a change. */
export function makeChange(random: Random): Change {
  return {
    how: random.pick(HOWS),
    at: random.below(100_000) / 100_000,
    count: random.pick([1, 1, 4, 8, random.few(1, 300)]),
    value: random.pick([0, 0xff, 0x7f, 0x80, random.below(256)]),
  };
}

/** The bytes after a change. */
export function change(bytes: Bytes, { how, at, count, value }: Change): Bytes {
  const from = Math.min(Math.floor(at * bytes.length), Math.max(bytes.length - 1, 0));
  const to = Math.min(from + count, bytes.length);
  const [before, part, after] = [bytes.slice(0, from), bytes.slice(from, to), bytes.slice(to)];
  switch (how) {
    case "flip":
      return joined(before, part.map((byte) => byte ^ (1 << (value % 8))), after);
    case "set":
      return joined(before, part.fill(value), after);
    case "cut":
      return before;
    case "drop":
      return joined(before, after);
    case "repeat":
      return joined(before, part, part, after);
    case "move":
      return joined(before, after.slice(0, value), part, after.slice(value));
  }
}
