/**
 * The commands that need neither a device nor a checkpoint.
 *
 * @module
 */

import { argument, type InferValue, object, optional, string, text } from "../optique.ts";
import type { Command } from "./command.ts";
import { json, quiet, trace } from "./options.ts";

const uapiArgs = object({
  name: optional(argument(string({ metavar: "NAME" }), {
    description: [text("A name as in the C headers: VFIO_DEVICE_RESET, vfio_region_info.")],
  })),
  ...json,
  ...quiet,
});

/** The arguments of `uapi`. */
export type UapiArgs = InferValue<typeof uapiArgs>;

const plainArgs = object({ ...quiet });

/** The arguments of `man`. */
export type ManArgs = InferValue<typeof plainArgs>;

const demoArgs = object({ ...trace, ...json, ...quiet });

/** The arguments of `demo`. */
export type DemoArgs = InferValue<typeof demoArgs>;

/** `uapi`. */
export const uapi: Command<UapiArgs> = {
  name: "uapi",
  usage: "[NAME] [--json]",
  brief: "Print the kernel's request numbers, constants and struct layouts.",
  details: [
    "Names and sizes are those of Linux 6.1's headers (linux/vfio.h; of linux/userfaultfd.h and linux/fs.h, what finds writes to memory). Later definitions, such as all of linux/iommufd.h, show the version that added them.",
  ],
  examples: [
    { what: "the layout of one struct", line: "vfiokit uapi vfio_region_info" },
    { what: "one request number", line: "vfiokit uapi VFIO_DEVICE_RESET" },
  ],
  permissions: [],
  args: uapiArgs,
};

/** `demo`. */
export const demo: Command<DemoArgs> = {
  name: "demo",
  usage: "[--json]",
  brief: "Save and restore a simulated device, and show each step.",
  details: [
    "Saves a simulated device, whose state changes while it runs, with pre-copy to a checkpoint in a temporary folder. Verifies the checkpoint, restores it into a second device, and compares the two states. No hardware is needed.",
  ],
  examples: [{ what: "see it at work", line: "vfiokit demo" }],
  permissions: ["--allow-read", "--allow-write"],
  args: demoArgs,
};

/** `man`. */
export const man: Command<ManArgs> = {
  name: "man",
  usage: "",
  brief: "Print the man page.",
  details: ["The man page is made from the same table as the help and the completion."],
  examples: [
    { what: "read it", line: "vfiokit man | man -l -" },
    {
      what: "install it",
      line: "vfiokit man > ~/.local/share/man/man1/vfiokit.1",
    },
  ],
  permissions: [],
  args: plainArgs,
};
