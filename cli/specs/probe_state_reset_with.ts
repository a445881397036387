/**
 * The commands that look at a device, or hold it for another program.
 *
 * @module
 */

import { argument, choice, type InferValue, multiple, object, text } from "../optique.ts";
import type { Command } from "./command.ts";
import {
  devices,
  drive,
  hold,
  json,
  open,
  qmp,
  quiet,
  rollback,
  toggle,
  trace,
} from "./options.ts";
import { tail } from "./program_to_run.ts";
import { device } from "./value_parsers.ts";

const DEVICE =
  "A PCI address, an mdev's UUID, a VFIO device (vfio7 or its node), a path in sysfs, fd:N (opened by another program), pid:N or pid:N/FD (open in a running process; probe, state, save and restore only), sim:NAME (simulated; sim:help lists them), vfio-user:SOCKET (of a vfio-user server), or replay:FILE (a trace).";

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
  noOpen: toggle(["--no-open"], "Read sysfs only; opening a PCI device may reset it."),
  vfToken: open.vfToken,
  via: open.via,
  ...trace,
  ...json,
  ...quiet,
});

/** The arguments of `probe`. */
export type ProbeArgs = InferValue<typeof probeArgs>;

const stateArgs = object({
  device: argument(device(), { description: [text(DEVICE)] }),
  targets: multiple(argument(
    choice(STATES, { metavar: "STATE" }),
    {
      description: [text(
        `The state to put it in: ${
          STATES.join(", ")
        }. Only v2 has the last three. Several are taken in order, with the device open.`,
      )],
    },
  )),
  ...hold,
  repair: toggle(
    ["--repair"],
    "With pid:N and --qmp: bring the device to the state that its VMM believes in, and let a paused machine go on.",
  ),
  guard: toggle(
    ["--guard"],
    "With --repair: say ready, wait for the end of stdin, and do nothing if it says done.",
  ),
  stayPaused: toggle(
    ["--stay-paused"],
    "With --repair: let a paused machine stay paused.",
  ),
  ...qmp,
  ...rollback,
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
  ...trace,
  ...json,
  ...quiet,
});

/** The arguments of `reset`. */
export type ResetArgs = InferValue<typeof resetArgs>;

const withArgs = object({
  devices: devices(DEVICE),
  command: tail("The program to run; its exit code is passed on.", true),
  vfToken: open.vfToken,
  via: open.via,
  ...trace,
  ...quiet,
});

/** The arguments of `with`. */
export type WithArgs = InferValue<typeof withArgs>;

/** `probe`. */
export const probe: Command<ProbeArgs> = {
  name: "probe",
  usage: "DEVICE [--no-open] [--json]",
  brief: "Show what a device is, and whether it can be saved and restored.",
  details: [
    "Shows the driver, the IOMMU group, the nodes that open the device, the regions and their capabilities, the migration protocol, and how the IOMMU tracks dirty pages. If the device cannot be migrated, probe says why and what to do next, and exits with 3.",
    "Opening a PCI device may reset it; --no-open reads sysfs only.",
    "A device that a running process has open (pid:N, pid:N/FD) is asked only what has no side effect; the notes say what is left out. It takes the right to trace the process.",
  ],
  examples: [
    { what: "why can this function not be migrated?", line: "vfiokit probe 0000:3b:00.1" },
    { what: "with no hardware at hand", line: "vfiokit probe sim:partitioned --json" },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: probeArgs,
};

/** `state`. */
export const state: Command<StateArgs> = {
  name: "state",
  lendsStdout: true,
  usage: "DEVICE [STATE...] [OPTIONS] [--hold | -- COMMAND...]",
  brief: "Show a device's migration state, or change it.",
  details: [
    "With several states, the device goes from one to the next. Each arc that it takes is printed with its time (arcs of the JSON document).",
    "A device keeps its state only while it is open. When the command ends the state is lost, unless --hold keeps the device open, a COMMAND inherits it, or another program opened it (fd:N).",
    "COMMAND inherits the device as fd 3 (see with); it also needs --allow-run and --allow-env. Stdout is COMMAND's, as with save.",
    "If the driver breaks a rule, state reports it as save does.",
    "The state of a device that a running process has open (pid:N) is read, and never set. If a save of it was killed, and its guard too, --repair brings device and VMM together again: it continues a machine that is paused, unless --stay-paused is given. After a restore, --rollback FILE puts back the state that the device had before.",
  ],
  examples: [
    { what: "what state is it in?", line: "vfiokit state fd:3" },
    { what: "what does a running VMM do with its device?", line: "vfiokit state pid:4711" },
    {
      what: "how long does each arc of a save take?",
      line: "vfiokit state 0000:3b:00.1 pre-copy stop-and-copy stop running",
    },
    {
      what: "stop a device while a script inspects it",
      line: "vfiokit state 0000:3b:00.1 stop -- ./look.sh",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: stateArgs,
};

/** `reset`. */
export const reset: Command<ResetArgs> = {
  name: "reset",
  usage: "DEVICE [--json]",
  brief: "Reset a device, and check that it runs.",
  details: [
    "The device's state is lost. A device in the ERROR state needs a reset. If the driver breaks a rule, reset reports it as save does.",
  ],
  examples: [{ what: "after a failed restore", line: "vfiokit reset 0000:3b:00.1" }],
  permissions: ["--allow-ffi", "--allow-read"],
  args: resetArgs,
};

/** `with`. */
export const withDevices: Command<WithArgs> = {
  name: "with",
  usage: "DEVICE... -- COMMAND...",
  brief: "Open devices, and run a program that inherits them.",
  details: [
    "The program inherits the device, its group and its container as the fds 3, 4 and 5; if the device is opened by its own character device, fd 4 is an iommufd instead. A second device has the next fds, and so on. VFIOKIT_DEVICES lists them as JSON: [{name, device, group, container, iommufd, ioas, data}]; ioas is the ID of the address space in the iommufd. For one device, VFIOKIT_DEVICE_FD, VFIOKIT_GROUP_FD and VFIOKIT_CONTAINER_FD, or VFIOKIT_IOMMUFD_FD and VFIOKIT_IOAS_ID, are set as well.",
    "In pre-copy a v2 device has a data fd, which ends with the process that holds it. With such a device the program also inherits two sockets (data): phase precopy puts the data fd into the first, and phase stop-and-copy takes it from the second.",
    "When the program ends, with reports each device that is not running. It passes on the program's exit code: 127 if the program is not found, 126 if it cannot be run, 128+n if signal n ended it. A simulated device is lent as a channel to a server of it: fd:3 names the device to vfiokit and to its scripts, and other programs cannot use it.",
  ],
  examples: [
    {
      what: "run a script that saves the device phase by phase (see phase precopy)",
      line: "vfiokit with 3b:00.1 -- ./save-by-phases.sh",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read", "--allow-run", "--allow-env"],
  args: withArgs,
};
