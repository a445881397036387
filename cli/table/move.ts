/**
 * The commands that save a device's state and put it back.
 *
 * @module
 */

import { object } from "@optique/core/constructs";
import { text } from "@optique/core/message";
import { optional, withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { argument, option } from "@optique/core/primitives";
import { choice } from "@optique/core/valueparser";
import { type Command, defineCommand } from "./command.ts";
import * as options from "./options.ts";
import { tail } from "./tail.ts";
import { device, file } from "./values.ts";

const leave = withDefault(
  option("--leave", choice(["running", "stopped"], { metavar: "STATE" }), {
    description: [text("The state to leave the device in: running (the default) or stopped.")],
  }),
  "running",
);

const saveArgs = object({
  device: argument(device(), { description: [text("The device to save (see probe).")] }),
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
  command: tail("Run a program after the save, with the device still open."),
  ...options.drive,
  ...options.json,
  ...options.quiet,
});

/** The arguments of `save`. */
export type SaveArgs = InferValue<typeof saveArgs>;

const restoreArgs = object({
  device: argument(device(), { description: [text("The device to restore into (see probe).")] }),
  file: argument(file(), { description: [text("The checkpoint; - is stdin.")] }),
  leave,
  hold: options.toggle(["--hold"], "Keep the device open, and so its state, until a signal comes."),
  force: options.toggle(["-f", "--force"], "Restore a checkpoint of another kind of device."),
  command: tail("Run a program after the restore, with the device still open."),
  ...options.drive,
  ...options.json,
  ...options.quiet,
});

/** The arguments of `restore`. */
export type RestoreArgs = InferValue<typeof restoreArgs>;

/** `save`. */
export const save: Command = defineCommand({
  name: "save",
  usage: "DEVICE -o FILE|- [OPTIONS] [-- COMMAND...]",
  brief: "Save a device's state to a checkpoint.",
  details: [
    "On disk the checkpoint appears whole or not at all. A save that fails or is interrupted puts the device back to running.",
    "COMMAND runs after the work, with the file in place and the device still open as fd 3 (see with), in the state that --leave names. With -o - or --json the program's stdout goes to stderr. Running it takes --allow-run and --allow-env too.",
  ],
  examples: [
    {
      what: "save a running device, most of it while it runs",
      line: "vfiokit save 0000:3b:00.1 --precopy -o device.vfio",
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
  usage: "DEVICE FILE|- [OPTIONS] [--hold | -- COMMAND...]",
  brief: "Restore a checkpoint into a device.",
  details: [
    "A file is verified whole before the device is touched. From a pipe, each part is checked before it is used, and a bad ending resets the device (exit code 4).",
    "The restored state lives as long as the device is open: --hold keeps it, COMMAND works on it as fd 3 (see with; it takes --allow-run and --allow-env too).",
  ],
  examples: [
    {
      what: "restore, and run a guest program on the device",
      line: "vfiokit restore 0000:3b:00.1 device.vfio -- ./use-it.sh",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: restoreArgs,
  load: () => import("../commands/restore.ts"),
});
