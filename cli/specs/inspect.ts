/**
 * The commands that look at a device, or hold it for another program.
 *
 * @module
 */

import { object } from "@optique/core/constructs";
import { message, metavar, text } from "@optique/core/message";
import { multiple, optional } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { argument } from "@optique/core/primitives";
import { choice } from "@optique/core/valueparser";
import { type Command, defineCommand } from "./command.ts";
import { drive, json, open, quiet, toggle } from "./options.ts";
import { tail } from "./tail.ts";
import { device } from "./values.ts";

const DEVICE =
  "A PCI address, an mdev's UUID, a VFIO device (vfio7 or its node), a path in sysfs, fd:N (opened by another program), or sim:NAME (simulated; sim:help lists them).";

const STATES = [
  "running",
  "stop",
  "pre-copy",
  "stop-and-copy",
  "resuming",
  "stop-copy",
  "running-p2p",
  "pre-copy-p2p",
] as const;

const probeArgs = object({
  device: argument(device(), { description: [text(DEVICE)] }),
  noOpen: toggle(["--no-open"], "Read sysfs only: opening a PCI device may reset it."),
  vfToken: open.vfToken,
  via: open.via,
  ...json,
  ...quiet,
});

/** The arguments of `probe`. */
export type ProbeArgs = InferValue<typeof probeArgs>;

const stateArgs = object({
  device: argument(device(), { description: [text(DEVICE)] }),
  target: optional(argument(
    choice(STATES, { metavar: "STATE" }),
    {
      description: [text(
        `The state to put it in: ${STATES.join(", ")}. The last three are v2's alone.`,
      )],
    },
  )),
  hold: toggle(["--hold"], "Keep the device open, and so its state, until a signal comes."),
  command: tail("Run a program while the device is held in that state."),
  ...drive,
  ...json,
  ...quiet,
});

/** The arguments of `state`. */
export type StateArgs = InferValue<typeof stateArgs>;

const resetArgs = object({
  device: argument(device(), { description: [text(DEVICE)] }),
  ...open,
  ...json,
  ...quiet,
});

/** The arguments of `reset`. */
export type ResetArgs = InferValue<typeof resetArgs>;

const withArgs = object({
  devices: multiple(argument(device(), { description: [text(DEVICE)] }), {
    min: 1,
    errors: { tooFew: message`Expected a ${metavar("DEVICE")}.` },
  }),
  command: tail("The program to run; its exit code is passed on.", true),
  vfToken: open.vfToken,
  via: open.via,
  ...quiet,
});

/** The arguments of `with`. */
export type WithArgs = InferValue<typeof withArgs>;

/** `probe`. */
export const probe: Command = defineCommand({
  name: "probe",
  usage: "DEVICE [--no-open] [--json]",
  brief: "Say what a device is, and whether it can be saved and restored.",
  details: [
    "Names the driver, the IOMMU group, the nodes that it is opened by, the regions and their capabilities, the migration protocol and how the IOMMU tracks dirty pages. Where the device cannot be migrated, it says why and what to do next, and exits with 3.",
    "Opening a PCI device may reset it; with --no-open only sysfs is read.",
  ],
  examples: [
    { what: "why can this function not be migrated?", line: "vfiokit probe 0000:3b:00.1" },
    { what: "with no hardware at hand", line: "vfiokit probe sim:partitioned --json" },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: probeArgs,
  load: () => import("../commands/probe.ts"),
});

/** `state`. */
export const state: Command = defineCommand({
  name: "state",
  usage: "DEVICE [STATE] [OPTIONS] [--hold | -- COMMAND...]",
  brief: "Show a device's migration state, or change it.",
  details: [
    "A device's state lives as long as it is open: after the command it is gone, unless the device is held with --hold, lent to a COMMAND, or was opened by somebody else (fd:N).",
    "COMMAND finds the device as fd 3 (see with); running it takes --allow-run and --allow-env too.",
    "What its driver does against the rules is told as by save.",
  ],
  examples: [
    { what: "what state is it in?", line: "vfiokit state fd:3" },
    {
      what: "stop a device while a script looks at it",
      line: "vfiokit state 0000:3b:00.1 stop -- ./look.sh",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: stateArgs,
  load: () => import("../commands/state.ts"),
});

/** `reset`. */
export const reset: Command = defineCommand({
  name: "reset",
  usage: "DEVICE [--json]",
  brief: "Reset a device, and check that it runs.",
  details: [
    "Its state is lost. It is the way out of the ERROR state. What its driver does against the rules is told as by save.",
  ],
  examples: [{ what: "after a failed restore", line: "vfiokit reset 0000:3b:00.1" }],
  permissions: ["--allow-ffi", "--allow-read"],
  args: resetArgs,
  load: () => import("../commands/reset.ts"),
});

/** `with`. */
export const withDevices: Command = defineCommand({
  name: "with",
  usage: "DEVICE... -- COMMAND...",
  brief: "Open devices, hold them, and run a program that works on them.",
  details: [
    "The program inherits the device, its group and its container as the fds 3, 4 and 5; a device that is opened by its own character device has an iommufd as fd 4 instead. A second device has the fds that follow, and so on. VFIOKIT_DEVICES lists them as JSON: [{name, device, group, container, iommufd, ioas, data}], ioas being the number of the address space in the iommufd; for one device VFIOKIT_DEVICE_FD, VFIOKIT_GROUP_FD and VFIOKIT_CONTAINER_FD, or VFIOKIT_IOMMUFD_FD and VFIOKIT_IOAS_ID, are set as well.",
    "The data fd of a device that speaks v2 comes with pre-copy, and ends with the process that has it. So such a device is lent two more fds, data: a socket that precopy.ts puts it into, and one that stop_and_copy.ts takes it from.",
    "At the end it says which device was left in another state than running. The program's exit code is passed on: 127 where it is not found, 126 where it cannot be run, 128+n where signal n ended it. A simulated device cannot be lent.",
  ],
  examples: [
    {
      what: "two phases of a save, each a script of its own, on one open device",
      line: "vfiokit with 3b:00.1 -- sh -c './precopy.ts fd:3 | ./stop_and_copy.ts fd:3 > f'",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read", "--allow-run", "--allow-env"],
  args: withArgs,
  load: () => import("../commands/with.ts"),
});
