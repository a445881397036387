/**
 * The command that judges a driver.
 *
 * @module
 */

import {
  argument,
  type InferValue,
  multiple,
  object,
  option,
  optional,
  string,
  text,
} from "../optique.ts";
import type { Command } from "./command.ts";
import { json, open, quiet, toggle, trace } from "./options.ts";
import { tail } from "./program_to_run.ts";
import { device, duration, file } from "./value_parsers.ts";

const name = (): ReturnType<typeof string> => string({ metavar: "GROUP|ID" });

const checkArgs = object({
  devices: multiple(
    argument(device(), {
      description: [
        text(
          "The device to check, and a second one of the same kind that states are restored into. Without a second one, states are restored into the device itself.",
        ),
      ],
    }),
    { max: 2 },
  ),
  only: multiple(option("--only", name(), {
    description: [text("Run only these checks: a group, an id, or the beginning of ids.")],
  })),
  skip: multiple(option("--skip", name(), { description: [text("Leave these checks out.")] })),
  reset: toggle(["--reset"], "Restore the device's own state into it, close it, and reset it."),
  destructive: toggle(
    ["--destructive"],
    "As --reset, and give it foreign, cut and damaged data as well.",
  ),
  timeout: optional(option("--timeout", duration(), {
    description: [text("How long a kernel call may take (default: 10s).")],
  })),
  checks: multiple(option("--checks", file(), {
    description: [text("A module with checks of your own, made by defineCheck.")],
  })),
  foreign: optional(option("--foreign", file(), {
    description: [
      text("With --destructive: a checkpoint of another kind of device, which must be refused."),
    ],
  })),
  junit: optional(option("--junit", file(), {
    description: [text("Write the verdicts to a file in JUnit's format.")],
  })),
  report: optional(option("--report", file(), {
    description: [text("Write a report to an HTML file.")],
  })),
  tap: toggle(["--tap"], "Print the verdicts in the format of the Test Anything Protocol."),
  force: toggle(["-f", "--force"], "Replace the files of --junit and --report."),
  list: toggle(["--list"], "List the checks with their safety levels, and check nothing."),
  explain: optional(option("--explain", string({ metavar: "ID" }), {
    description: [text("Show what a check does and the rules it judges by, and check nothing.")],
  })),
  command: tail("A program that keeps the device busy during the checks that want it."),
  ...open,
  ...trace,
  ...json,
  ...quiet,
});

/** The arguments of `check`. */
export type CheckArgs = InferValue<typeof checkArgs>;

/** `check`. */
export const check: Command<CheckArgs> = {
  name: "check",
  usage: "DEVICE [SECOND] [OPTIONS] [-- COMMAND...]",
  brief: "Judge a migration driver by the rules of the kernel's headers.",
  details: [
    "Runs checks on the device and prints a verdict for each: pass, FAIL, warn (allowed, and it hurts users), skip (the device lacks what the check needs, or the safety level does not permit it), or unclear (the check could not be done). A FAIL shows the rule and its source, what was done, what was expected and what was seen; --json has the kernel calls as well. --list shows every check, --explain one of them.",
    "Each check has a safety level. By default nothing enters RESUMING, may end in ERROR, or closes the device, and a running device keeps running with its state. --reset restores the device's own state into it, closes it, and resets it. --destructive gives it foreign, cut and damaged data as well. If the device does not go back to RUNNING, the run ends with exit code 5.",
    "The exit code is 0 if no check failed, 1 if one did, 3 if the device cannot be migrated, and 5 if it needs a reset now. COMMAND inherits the device as fd 3 (see with) and keeps it busy while it is checked; it also needs --allow-run and --allow-env. A simulated device keeps itself busy by its own DMA, and takes none. --junit, --report and --trace also need --allow-write.",
  ],
  examples: [
    { what: "before a driver is sent to its maintainer", line: "vfiokit check 0000:3b:00.1" },
    {
      what: "everything, restoring into a second device",
      line: "vfiokit check 0000:3b:00.1 0000:3b:00.2 --destructive --report check.html",
    },
    { what: "with no hardware at hand", line: "vfiokit check sim:mlx5 --destructive" },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: checkArgs,
};
