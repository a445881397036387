/**
 * The command table: every command of `vfiokit`, in the order of the help.
 *
 * @module
 */

import { check } from "./check.ts";
import type { Command, CommandGroup } from "./command.ts";
import { dirtyForecast, dirtyGet, dirtyWatch, unmap } from "./dirty.ts";
import { show, verify } from "./files.ts";
import { probe, reset, state, withDevices } from "./inspect.ts";
import { restore, save } from "./move.ts";
import { demo, man, uapi } from "./reference.ts";

/** The name of the program. */
export const PROGRAM = "vfiokit";

/** The program, in one line. */
export const BRIEF = "Save, restore and inspect VFIO devices without a virtual machine.";

/** Commands of two words. */
export const GROUPS: readonly CommandGroup[] = [
  { name: "dirty", brief: "Show the pages that a device dirties." },
];

/** Every command. */
export const COMMANDS: readonly Command[] = [
  probe,
  state,
  reset,
  withDevices,
  check,
  save,
  restore,
  verify,
  show,
  dirtyGet,
  dirtyWatch,
  dirtyForecast,
  unmap,
  uapi,
  demo,
  man,
];
