/**
 * The commands of one phase each, which are joined by pipes.
 *
 * @module
 */

import { argument, type InferValue, message, metavar, object, text } from "../../optique.ts";
import type { Command } from "../command.ts";
import { drive, precopy as limits, quiet, toggle } from "../options.ts";
import { device } from "../value_parsers.ts";

/** The arguments of every phase. */
const common = {
  device: argument(device(), {
    description: [
      text("The device: fd:3 under vfiokit with, or any other name (see vfiokit probe)."),
    ],
  }),
  ...drive,
  ...quiet,
};

const errors = { endOfInput: message`Expected a ${metavar("DEVICE")}.` };

const phaseArgs = object(common, { errors });

/** The arguments of a phase without further ones. */
export type PhaseArgs = InferValue<typeof phaseArgs>;

/** How the phases of one device find each other. */
const SAME_DEVICE =
  "Both phases of a save need the same open device: run them under vfiokit with, which lends it to them as fd:3. A lent v2 device also needs --allow-env=VFIOKIT_DEVICES, as the variable says how the phases hand over its data fd.";

const TOGETHER = {
  what: "under vfiokit with: save the device, most of it while it runs",
  line: "vfiokit phase precopy fd:3 | vfiokit phase stop-and-copy fd:3 > device.vfk",
} as const;

const precopyArgs = object({ ...common, ...limits }, { errors });

/** The arguments of `phase precopy`. */
export type PhasePrecopyArgs = InferValue<typeof precopyArgs>;

/** `phase precopy`. */
export const phasePrecopy: Command<PhasePrecopyArgs> = {
  name: "phase precopy",
  usage: "DEVICE [OPTIONS]",
  brief: "Copy a running device's state to stdout, and leave it in pre-copy.",
  details: [
    "Writes a checkpoint that is not complete, which phase stop-and-copy continues. If pre-copy fails or is interrupted, the device goes back to running.",
    SAME_DEVICE,
  ],
  examples: [TOGETHER],
  permissions: ["--allow-ffi", "--allow-read"],
  args: precopyArgs,
};

/** `phase stop-and-copy`. */
export const phaseStopAndCopy: Command<PhaseArgs> = {
  name: "phase stop-and-copy",
  usage: "DEVICE [OPTIONS]",
  brief: "Stop a device, and append its state to what phase precopy wrote.",
  details: [
    "Copies the output of phase precopy from stdin, then appends the rest of the state, all to stdout. If stdin is empty or a terminal, it reads the device's whole state. Leaves the device stopped; if it fails or is interrupted, the device goes back to running.",
    SAME_DEVICE,
  ],
  examples: [
    {
      what: "move the state of one device into another",
      line: "vfiokit phase stop-and-copy 3b:00.1 | vfiokit phase resume 5e:00.2",
    },
    TOGETHER,
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: phaseArgs,
};

const resumeArgs = object({
  ...common,
  force: toggle(["-f", "--force"], "Restore a checkpoint of another kind of device."),
}, { errors });

/** The arguments of `phase resume`. */
export type PhaseResumeArgs = InferValue<typeof resumeArgs>;

/** `phase resume`. */
export const phaseResume: Command<PhaseResumeArgs> = {
  name: "phase resume",
  usage: "DEVICE [OPTIONS]",
  brief: "Restore a checkpoint from stdin into a device, and let it run.",
  details: [
    "Reads what phase stop-and-copy or save wrote. If the checkpoint is bad or ends early, the device is reset, and the exit code is 4.",
    "The device keeps its state only while it is open: under vfiokit with, or in a process that lends it as fd:N.",
  ],
  examples: [
    {
      what: "under vfiokit with: restore a compressed checkpoint",
      line: "zstd -dc device.vfk.zst | vfiokit phase resume fd:3",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: resumeArgs,
};
