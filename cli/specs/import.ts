/**
 * The commands that make checkpoints of other programs' files.
 *
 * @module
 */

import {
  argument,
  choice,
  type InferValue,
  multiple,
  object,
  option,
  optional,
  string,
  text,
} from "../optique.ts";
import type { Command } from "./command.ts";
import { json, open, quiet, stored, toggle } from "./options.ts";
import { device, file } from "./value_parsers.ts";

/** The options of each `import` command. */
const common = {
  list: toggle(["--list"], "Say which devices are in it, and write nothing."),
  names: multiple(option("--device", string({ metavar: "NAME" }), {
    description: [
      text("Take this device, by the name that --list shows; default: all that have state."),
    ],
  })),
  like: optional(option("--like", device(), {
    description: [
      text(
        "A device of the same kind: the checkpoint gets its driver, type, ids and protocol, which must not differ from what is known already. It is opened.",
      ),
    ],
  })),
  output: optional(option("-o", "--output", file(), {
    description: [text("The checkpoint to write; - is stdout.")],
  })),
  force: toggle(["-f", "--force"], "Replace an existing file."),
  ...stored,
  vfToken: open.vfToken,
  via: open.via,
  ...json,
  ...quiet,
};

const args = object({
  file: argument(file(), {
    description: [text("The file that QEMU's migrate wrote; a regular file.")],
  }),
  ...common,
  protocol: optional(option("--protocol", choice(["v1", "v2"], { metavar: "PROTOCOL" }), {
    description: [
      text(
        "The protocol that the device spoke, if the file does not tell: v1 up to QEMU 7.2, v2 from QEMU 8.0 on.",
      ),
    ],
  })),
});

const snapshotArgs = object({
  file: argument(file("DIR"), {
    description: [text("The folder that cloud-hypervisor's snapshot wrote.")],
  }),
  ...common,
});

/** The arguments of `import cloud-hypervisor`, and what all `import` commands have. */
export type ImportArgs = InferValue<typeof snapshotArgs>;

/** The arguments of `import qemu`. */
export type ImportQemuArgs = InferValue<typeof args>;

/** `import qemu`. */
export const importQemu: Command<ImportQemuArgs> = {
  name: "import qemu",
  usage: "FILE (--list | -o CHECKPOINT) [--device NAME] [--like DEVICE] [OPTIONS]",
  brief: "Make a checkpoint of VFIO devices in a migration stream of QEMU's.",
  details: [
    "Reads what QEMU's migrate wrote to a file (migrate file:FILE, or exec:cat > FILE with older versions), walks past the guest's memory, and takes out the state of VFIO devices. The whole file is checked first; a cut or damaged one is exit 4, with the offset.",
    "QEMU must have written plain pages on one channel. A file that was written with multifd, mapped-ram, xbzrle, compression or postcopy is refused by that name, exit 3.",
    "Only the device's own state is taken: the guest's memory, its interrupts and its configuration space stay behind.",
    "With --like it also needs --allow-ffi.",
  ],
  examples: [
    {
      what: "which devices are in it?",
      line: "vfiokit import qemu guest.mig --list",
    },
    {
      what: "take out one, to restore it into a device of the same kind",
      line: "vfiokit import qemu guest.mig --device 0000:00:05.0 --like 0000:3b:00.1 -o device.vfk",
    },
  ],
  permissions: ["--allow-read", "--allow-write"],
  args,
};

/** `import cloud-hypervisor`. */
export const importCloudHypervisor: Command<ImportArgs> = {
  name: "import cloud-hypervisor",
  usage: "DIR (--list | -o CHECKPOINT) [--device NAME] [--like DEVICE] [OPTIONS]",
  brief: "Make a checkpoint of VFIO devices in a snapshot of cloud-hypervisor's.",
  details: [
    "Reads the state.json that ch-remote snapshot (or cloud-hypervisor's offload daemon) wrote, and takes out the state of VFIO devices. The whole file is checked first; a cut or damaged one is exit 4, with the offset.",
    "cloud-hypervisor saves the state of VFIO devices from version 53 on, of those that speak v2. A snapshot in the layout of version 38 or earlier is refused by that name, exit 3.",
    "Only the device's own state is taken: the guest's memory, its interrupts and its configuration space stay behind.",
    "The snapshot does not say what kind of device it was. Give --like, so that restore can compare. With --like it also needs --allow-ffi.",
  ],
  examples: [
    {
      what: "which devices are in it?",
      line: "vfiokit import cloud-hypervisor snapshot --list",
    },
    {
      what: "take out one, to restore it into a device of the same kind",
      line: "vfiokit import cloud-hypervisor snapshot --device nic0 --like 0000:3b:00.1 -o nic.vfk",
    },
  ],
  permissions: ["--allow-read", "--allow-write"],
  args: snapshotArgs,
};
