/**
 * The command that compares two checkpoints.
 *
 * @module
 */

import { argument, type InferValue, object, text } from "../../optique.ts";
import type { Command } from "../command.ts";
import { json, quiet } from "../options.ts";
import { file } from "../value_parsers.ts";

const diffArgs = object({
  first: argument(file(), {
    description: [text("A checkpoint: a file, DIR (its last one) or DIR@N.")],
  }),
  second: argument(file(), { description: [text("The one to compare it with.")] }),
  ...json,
  ...quiet,
});

/** The arguments of `diff`. */
export type DiffArgs = InferValue<typeof diffArgs>;

/** `diff`. */
export const diff: Command<DiffArgs> = {
  name: "diff",
  usage: "FILE|DIR[@N] FILE|DIR[@N] [--json]",
  brief: "Compare the memory and the device data of two checkpoints.",
  details: [
    "Prints which ranges of memory differ, in pages of 4 KiB, and which transactions of the devices' data, with the number of bytes. Memory is compared by the hashes of its pages; of DIR@N it is all memory at that time, of a file only the pages that this file holds.",
    "As diff(1) does, it exits with 0 if nothing differs, with 1 if something does, and with 2 if a file cannot be read; with 4 if a checkpoint is bad, or DIR lacks one that is asked for or needed.",
  ],
  examples: [
    {
      what: "what changed between two checkpoints of a folder",
      line: "vfiokit diff checkpoints@11 checkpoints@12",
    },
    { what: "whether two devices have the same state", line: "vfiokit diff a.vfk b.vfk" },
  ],
  permissions: ["--allow-read"],
  args: diffArgs,
};
