/**
 * The commands that save a device's state and put it back.
 *
 * @module
 */

import { object } from "@optique/core/constructs";
import { message, metavar, text } from "@optique/core/message";
import { map, multiple, optional, withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { argument, option } from "@optique/core/primitives";
import { choice } from "@optique/core/valueparser";
import { type Command, defineCommand } from "./command.ts";
import * as options from "./options.ts";
import { tail } from "./tail.ts";
import { device, devicesAndFile, file } from "./values.ts";

/** What both say of the notes; docs/driver-notes.md lists them. */
const NOTES =
  "What a driver does against the rules, though the work goes on, is told in the end: a note each on stderr, with the rule, and notes in the JSON document.";

/** As many as a checkpoint holds. */
const MOST_DEVICES = 64;

const leave = withDefault(
  option("--leave", choice(["running", "stopped"], { metavar: "STATE" }), {
    description: [text("The state to leave the devices in: running (the default) or stopped.")],
  }),
  "running",
);

const saveArgs = object({
  devices: multiple(
    argument(device(), {
      description: [text("The device to save (see probe); several stop together, or none does.")],
    }),
    {
      min: 1,
      max: MOST_DEVICES,
      errors: { tooFew: message`Expected a ${metavar("DEVICE")}.` },
    },
  ),
  output: option("-o", "--output", file(), {
    description: [text("The checkpoint to write; - is stdout.")],
  }),
  precopy: options.toggle(
    ["--precopy"],
    "Copy first while the device runs (implied by the next four).",
  ),
  ...options.precopy,
  leave,
  force: options.toggle(["-f", "--force"], "Replace a file that is there."),
  compress: optional(option("--compress", choice(["zstd"], { metavar: "HOW" }), {
    description: [text("Compress the state: zstd.")],
  })),
  digest: optional(option("--digest", choice(["sha256"], { metavar: "HOW" }), {
    description: [text("Add a digest of the state: sha256.")],
  })),
  noReadBack: options.toggle(["--no-read-back"], "Do not read the file back before it appears."),
  command: tail("Run a program after the save, with the devices still open."),
  ...options.drive,
  ...options.json,
  ...options.quiet,
});

/** The arguments of `save`. */
export type SaveArgs = InferValue<typeof saveArgs>;

const restoreWords = object({
  words: multiple(
    argument(devicesAndFile(), {
      description: [text(
        "The devices to restore into (see probe), in the order in which they were saved, and the checkpoint; - is stdin.",
      )],
    }),
    {
      min: 2,
      max: MOST_DEVICES + 1,
      errors: { tooFew: message`Expected ${metavar("DEVICE")} and ${metavar("FILE")}.` },
    },
  ),
  leave,
  hold: options.toggle(["--hold"], "Keep the device open, and so its state, until a signal comes."),
  force: options.toggle(["-f", "--force"], "Restore a checkpoint of another kind of device."),
  command: tail("Run a program after the restore, with the devices still open."),
  ...options.drive,
  ...options.json,
  ...options.quiet,
});

// The last of the words: a parser that takes all it can get leaves none to another.
const restoreArgs = map(restoreWords, ({ words, ...rest }) => ({
  ...rest,
  devices: words.slice(0, -1),
  file: words.at(-1)!,
}));

/** The arguments of `restore`. */
export type RestoreArgs = InferValue<typeof restoreArgs>;

/** `save`. */
export const save: Command = defineCommand({
  name: "save",
  usage: "DEVICE... -o FILE|- [OPTIONS] [-- COMMAND...]",
  brief: "Save the state of a device, or of several together, to a checkpoint.",
  details: [
    "On disk the checkpoint appears whole or not at all. A save that fails or is interrupted puts the device back to running.",
    "A regular file is read back before it appears, as verify does it, while the device runs again. A file that is bad is not left, and the exit code is 1. This checks what was written, not the medium: it may come from the kernel's memory. Pipes and devices are not read back.",
    "Several devices are saved all or none, in one checkpoint, in the order given: those that can begin no more DMA to each other (the P2P states of v2) before the first one stops, and none is read before all have stopped. If one fails, all go back to running, and the message says what became of each.",
    NOTES,
    "COMMAND runs after the work, with the file in place and the devices still open, the first as fd 3 (see with), in the state that --leave names. With -o - or --json the program's stdout goes to stderr. Running it takes --allow-run and --allow-env too.",
  ],
  examples: [
    {
      what: "save a running device, most of it while it runs",
      line: "vfiokit save 0000:3b:00.1 --precopy -o device.vfio",
    },
    {
      what: "save two devices that talk to each other",
      line: "vfiokit save 0000:3b:00.1 0000:5e:00.2 --precopy -o both.vfio",
    },
    {
      what: "stop it for no longer than about a third of a second, as far as the driver can tell",
      line: "vfiokit save 0000:3b:00.1 --downtime 300ms -o device.vfio",
    },
    {
      what: "to another host",
      line: "vfiokit save 0000:3b:00.1 -o - | ssh host vfiokit restore 0000:3b:00.1 -",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read", "--allow-write"],
  args: saveArgs,
  load: () => import("../commands/save.ts"),
});

/** `restore`. */
export const restore: Command = defineCommand({
  name: "restore",
  usage: "DEVICE... FILE|- [OPTIONS] [--hold | -- COMMAND...]",
  brief: "Restore a checkpoint into a device, or into several together.",
  details: [
    "A file is verified whole before the device is touched. From a pipe, each part is checked before it is used, and a bad ending resets the device (exit code 4).",
    "A checkpoint of several devices takes as many, in the order in which they were saved; show lists them. All of them accept their state before the first one runs; if one fails, all are reset.",
    NOTES,
    "The restored state lives as long as the device is open: --hold keeps it, COMMAND works on it as fd 3 (see with; it takes --allow-run and --allow-env too).",
  ],
  examples: [
    {
      what: "restore, and run a guest program on the device",
      line: "vfiokit restore 0000:3b:00.1 device.vfio -- ./use-it.sh",
    },
    {
      what: "restore two devices that were saved together",
      line: "vfiokit restore 0000:3b:00.1 0000:5e:00.2 both.vfio -- ./use-both.sh",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: restoreArgs,
  load: () => import("../commands/restore.ts"),
});
