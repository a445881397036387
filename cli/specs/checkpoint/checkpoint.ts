/**
 * The command that takes checkpoints of devices and their memory while they run.
 *
 * @module
 */

import {
  choice,
  type InferValue,
  integer,
  multiple,
  object,
  option,
  optional,
  text,
  withDefault,
} from "../../optique.ts";
import type { Command } from "../command.ts";
import * as options from "../options.ts";
import { tail } from "../program_to_run.ts";
import { duration, file, rangeToMap } from "../value_parsers.ts";

const checkpointArgs = object({
  devices: options.devices(
    "The device (see probe). Several devices stop together.",
    options.MOST_DEVICES,
  ),
  output: option("-o", "--output", file(), {
    description: [text("The folder for the checkpoints; it is made if need be.")],
  }),
  map: multiple(option("--map", rangeToMap(), {
    description: [
      text(
        "Map memory of this size at this IOVA for the device, and save it, too: new memory, or a FILE as it is (see dirty get).",
      ),
    ],
  })),
  every: optional(option("--every", duration(), {
    description: [text("Take a checkpoint at this interval; without this, take one.")],
  })),
  count: optional(option("--count", integer({ min: 1, metavar: "N" }), {
    description: [
      text("With --every: end after this many checkpoints; those that failed do not count."),
    ],
  })),
  keep: optional(option("--keep", integer({ min: 1, metavar: "N" }), {
    description: [
      text("Keep at least the last N checkpoints; remove older ones, a whole chain at a time."),
    ],
  })),
  fullEvery: withDefault(
    option("--full-every", integer({ min: 1, metavar: "N" }), {
      description: [text("Take a full checkpoint after this many (default: 16).")],
    }),
    16,
  ),
  tracker: withDefault(
    option(
      "--tracker",
      choice(["type1", "device", "iommufd", "auto", "none"], { metavar: "NAME" }),
      {
        description: [
          text("What tracks dirty pages: type1, device, iommufd, auto (the default), or none."),
        ],
      },
    ),
    "auto" as const,
  ),
  ownerWrites: withDefault(
    option(
      "--owner-writes",
      choice(["compare", "reported", "protect", "none"], { metavar: "HOW" }),
      {
        description: [
          text(
            "What programs write to the memory, which no tracker sees: compare (the default: all pages, while the device stands still), reported (the owner says what it writes: attach:PATH), protect (the owner write-protects its memory, and the kernel finds what it writes: Linux 6.7), or none (a promise that they do not).",
          ),
        ],
      },
    ),
    "compare" as const,
  ),
  downtime: withDefault(
    option("--downtime", duration(), {
      description: [
        text("Stop the device once sending what is left takes no longer (default: 300ms)."),
      ],
    }),
    300,
  ),
  maxRounds: withDefault(
    option("--max-rounds", integer({ min: 1, metavar: "N" }), {
      description: [text("Stop the device after this many rounds (default: 3).")],
    }),
    3,
  ),
  noReadBack: options.toggle(["--no-read-back"], "Do not read a file back before it appears."),
  command: tail("Run a program that uses the device and its memory, until it ends."),
  ...options.drive,
  ...options.jsonLines("checkpoint"),
  ...options.quiet,
});

/** The arguments of `checkpoint`. */
export type CheckpointArgs = InferValue<typeof checkpointArgs>;

/** `checkpoint`. */
export const checkpoint: Command<CheckpointArgs> = {
  name: "checkpoint",
  jsonLines: true,
  lendsStdout: true,
  usage: "DEVICE... --map IOVA:SIZE... -o DIR [--every TIME] [OPTIONS] [-- COMMAND...]",
  brief: "Take checkpoints of a running device and its memory.",
  details: [
    "The device runs but for a short stop, whose length is printed. Each checkpoint is a file in DIR (000000.vfk, 000001.vfk, ...) that appears whole or not at all. The first holds all memory, each later one what changed since the one before; the device's state is in each.",
    "restore DIR@N brings device and memory back, verify DIR and show DIR say which checkpoints can be restored, diff DIR@M DIR@N what changed between two. In a folder with checkpoints of an earlier run, a full one begins a new chain.",
    "If a checkpoint fails, the device runs on, and the next one is a full one; the exit code is 1 in the end. Ctrl-C ends it, between checkpoints or in one.",
    "attach:PATH is a device that another program has open: it hands over the device and its memory, and is asked to stop its own writes for each stop (see migrate).",
    "COMMAND inherits the device, as fd 3, and its memory (see with and dirty watch). Stdout is COMMAND's: the lines go to stderr. It also needs --allow-run and --allow-env.",
  ],
  examples: [
    {
      what: "every ten seconds; the last 20 can be restored",
      line:
        "vfiokit checkpoint 0000:3b:00.1 --map 0x100000:64MiB --every 10s --keep 20 -o checkpoints",
    },
    {
      what: "while a program drives the device",
      line:
        "vfiokit checkpoint 0000:3b:00.1 --map 0x100000:64MiB --every 1min -o checkpoints -- ./driver",
    },
    {
      what: "three of a simulated device that writes to its memory",
      line:
        'vfiokit checkpoint "sim:mlx5?dma=random" --map 0x100000:4MiB --every 1s --count 3 -o /tmp/chain',
    },
  ],
  permissions: ["--allow-ffi", "--allow-read", "--allow-write"],
  args: checkpointArgs,
};
