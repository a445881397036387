/**
 * The benchmark's command line.
 *
 * @module
 */

import { parseArgs } from "node:util";

/** The parts of the benchmark, in the order in which they are measured. */
export const PARTS = ["ioctl", "transfer", "memory", "startup"] as const;

/** A part of the benchmark. */
export type Part = typeof PARTS[number];

/** What `--help` says. */
export const USAGE = `Usage: deno task bench [OPTIONS] [PART…]

Measures this toolkit against C, in turns, and prints one table. It asserts
nothing about time.

  PART        ${PARTS.join(", ")} (default: all of them).
  --rounds N  How often each is measured; the fastest round counts (default: 7).
  --json      One JSON document in place of the table.

Needs gcc, an x86-64 machine, and about 2.5 GiB in /dev/shm.
Exit code 0: measured; 1: not; 2: the command line is wrong.`;

/** What is asked for. */
export interface Options {
  /** The parts to measure, each once, in the order of {@linkcode PARTS}. */
  readonly parts: readonly Part[];
  /** How often each is measured. */
  readonly rounds: number;
  /** Whether to print JSON. */
  readonly json: boolean;
}

/**
 * Reads the command line; null where help is asked for. A `--` before the
 * options is dropped: `deno task` hands it on.
 *
 * @throws {TypeError} If an option or a part is unknown, or N is not a whole number from 1 on.
 */
export function parseOptions(args: readonly string[]): Options | null {
  const { values, positionals } = parseArgs({
    args: args[0] === "--" ? args.slice(1) : [...args],
    allowPositionals: true,
    options: {
      help: { type: "boolean" },
      json: { type: "boolean", default: false },
      rounds: { type: "string", default: "7" },
    },
  });
  if (values.help) return null;
  const unknown = positionals.find((name) => !(PARTS as readonly string[]).includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`Cannot measure "${unknown}": the parts are ${PARTS.join(", ")}`);
  }
  const rounds = Number(values.rounds);
  if (!/^\d+$/.test(values.rounds) || rounds < 1 || !Number.isSafeInteger(rounds)) {
    throw new TypeError(`Cannot measure "${values.rounds}" rounds: give a whole number from 1 on`);
  }
  const parts = PARTS.filter((part) => positionals.length === 0 || positionals.includes(part));
  return { parts, rounds, json: values.json };
}
