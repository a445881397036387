/**
 * The benchmark's command line.
 *
 * @module
 */

import { parseArgs } from "node:util";

/** What can be measured, in the order in which it is, and how it is explained. */
const ROWS = {
  "cores": "what a MiB takes from one core to another, in C: no row of ours",
  "ioctl": "an ioctl through the seam, against C",
  "save-1m": "save to a file, transactions of 1 MiB",
  "save-4k": "save to a file, transactions of 4 KiB",
  "save-pipe": "save to a pipe that cat reads, 1 MiB",
  "restore-file": "restore from a file, 1 MiB",
  "restore-pipe": "restore from a pipe, 1 MiB",
  "restore-4k": "restore from a pipe, 4 KiB",
  "save-v2": "save of a v2 device to a file, reads of 1 MiB",
  "restore-v2": "restore of a v2 device from a pipe, 1 MiB",
  "two-devices": "save of two devices to one file, against two C programs",
  "standstill": "how long 8 slow devices stand still, against 1",
  "traced": "save to a file with a trace, against the same without, 1 MiB",
  "streams": "save and restore over the Web streams, 1 MiB",
  "verify": "verify of a file, against cat and the CRC alone",
  "import": "a migration stream of QEMU's with gigabytes of RAM, against cat",
  "memory": "peak memory: 1 device of 4 GiB, 8 of 1 GiB",
  "vfio-user": "a device that another process serves: a request, and its data",
  "live": "memory of a live migration, over a unix socket and TLS, and comparing it",
  "live-downtime": "for how long devices stand still that migrate, against what is sent meanwhile",
  "live-streams": "memory of a live migration by 2 and 4 streams, against 1",
  "startup": "how long the command line takes to start",
} as const;

/** The name of something that can be measured. */
export type RowName = keyof typeof ROWS;

/** All of them, in order. */
export const ROW_NAMES: readonly RowName[] = Object.keys(ROWS) as RowName[];

const RUNTIMES = ["deno", "bun"] as const;

/** What runs our side. */
export type RuntimeName = typeof RUNTIMES[number];

/** What `--help` says. */
export const USAGE = `Usage: deno task bench [OPTIONS] [NAME…]

Measures this toolkit against C, in turns, and prints one table. It asserts
nothing about time.

Names (default: all of them):
${Object.entries(ROWS).map(([name, text]) => `  ${name.padEnd(14)}${text}`).join("\n")}

Options:
  --rounds N      How often each is measured; the fastest counts (default: 7).
  --runtime NAME  deno or bun (default: both, where a row is about both).
  --json          One JSON document in place of the table.

Needs gcc, an x86-64 machine, and about 4.5 GiB in /dev/shm.
Exit code 0: measured; 1: not; 2: the command line is wrong.`;

/** What is asked for. */
export interface Options {
  /** What to measure, each once, in the order of {@linkcode ROW_NAMES}. */
  readonly names: readonly RowName[];
  /** What to measure it in. */
  readonly runtimes: readonly RuntimeName[];
  /** How often each is measured. */
  readonly rounds: number;
  /** Whether to print JSON. */
  readonly json: boolean;
}

/** The one of `known` that was asked for, or all of them. */
function chosen<Name extends string>(
  what: string,
  known: readonly Name[],
  wanted: readonly string[],
): readonly Name[] {
  const unknown = wanted.find((name) => !(known as readonly string[]).includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`Cannot measure ${what} "${unknown}": there is ${known.join(", ")}`);
  }
  return known.filter((name) => wanted.length === 0 || wanted.includes(name));
}

/**
 * Reads the command line; null where help is asked for. A `--` before the
 * options is dropped: `deno task` hands it on.
 *
 * @throws {TypeError} If an option, a name or a runtime is unknown, or N is not a whole number from
 * 1 on.
 */
export function parseOptions(args: readonly string[]): Options | null {
  const { values, positionals } = parseArgs({
    args: args[0] === "--" ? args.slice(1) : [...args],
    allowPositionals: true,
    options: {
      help: { type: "boolean" },
      json: { type: "boolean", default: false },
      rounds: { type: "string", default: "7" },
      runtime: { type: "string", multiple: true, default: [] },
    },
  });
  if (values.help) return null;
  const rounds = Number(values.rounds);
  if (!/^\d+$/.test(values.rounds) || rounds < 1 || !Number.isSafeInteger(rounds)) {
    throw new TypeError(`Cannot measure "${values.rounds}" rounds: give a whole number from 1 on`);
  }
  return {
    names: chosen("row", ROW_NAMES, positionals),
    runtimes: chosen("in runtime", RUNTIMES, values.runtime),
    rounds,
    json: values.json,
  };
}
