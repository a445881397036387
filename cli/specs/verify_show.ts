/**
 * The commands that read checkpoints and need no device.
 *
 * @module
 */

import { argument, type InferValue, object, text } from "../optique.ts";
import type { Command } from "./command.ts";
import { json, quiet } from "./options.ts";
import { file } from "./value_parsers.ts";

const args = object({
  file: argument(file(), {
    description: [text("The checkpoint, or a folder of checkpoints; - is stdin.")],
  }),
  ...json,
  ...quiet,
});

/** The arguments of `verify` and `show`. */
export type FileArgs = InferValue<typeof args>;

/** `verify`. */
export const verify: Command<FileArgs> = {
  name: "verify",
  usage: "FILE|DIR|DIR@N|- [--json]",
  brief: "Check that a checkpoint is whole and sound.",
  details: [
    "Reads the whole checkpoint. Checks every frame's checksum, the order and number of frames, and that nothing follows the end. Exits with 4 if the checkpoint is bad.",
    "Of a folder that checkpoint filled, reads every checkpoint, checks that they fit together, and says which cannot be restored: then it exits with 4. DIR@N checks number N and those that it builds on.",
  ],
  examples: [
    { what: "check a checkpoint before you need it", line: "vfiokit verify device.vfk" },
    { what: "check a folder of checkpoints", line: "vfiokit verify checkpoints" },
  ],
  permissions: ["--allow-read"],
  args,
};

/** `show`. */
export const show: Command<FileArgs> = {
  name: "show",
  usage: "FILE|DIR|DIR@N|- [--json]",
  brief: "Show what a checkpoint holds: device, phases, sizes, timings.",
  details: [
    "Reads and checks the whole checkpoint, as verify does. Of one that is cut or damaged it shows what can be read, and exits with 4.",
    "Of a folder that checkpoint filled, it shows a line for each checkpoint: full or increment, when it was taken, its size, and whether it can be restored. DIR@N is number N: what it holds, and which one it builds on.",
    "Of a migration stream of QEMU's, in a regular file, it shows the machine, its memory and the VFIO devices whose state import qemu takes out; with --json as stream.",
    "Of the folder of a snapshot of cloud-hypervisor's, it shows its memory and its VFIO devices, which import cloud-hypervisor takes out; with --json as snapshot.",
  ],
  examples: [{ what: "which device was saved?", line: "vfiokit show device.vfk" }],
  permissions: ["--allow-read"],
  args,
};
