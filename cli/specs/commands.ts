/**
 * The command table: every command of `vfiokit`, in the order of the help.
 *
 * @module
 */

import { check } from "./check.ts";
import { checkpoint } from "./checkpoint/checkpoint.ts";
import { diff } from "./checkpoint/diff.ts";
import type { Command, CommandGroup } from "./command.ts";
import { dirtyForecast, dirtyGet, dirtyWatch, unmap } from "./dirty_unmap.ts";
import { importCloudHypervisor, importQemu } from "./import.ts";
import { list } from "./list.ts";
import { serve } from "./serve.ts";
import { show, verify } from "./verify_show.ts";
import { keygen } from "./migrate/keygen.ts";
import { migrate } from "./migrate/migrate.ts";
import { receive } from "./migrate/receive.ts";
import { phasePrecopy, phaseResume, phaseStopAndCopy } from "./phase/phases.ts";
import { probe, reset, state, withDevices } from "./probe_state_reset_with.ts";
import { restore, save } from "./save_restore.ts";
import { timeline, traceShow } from "./trace_timeline.ts";
import { demo, man, uapi } from "./uapi_demo_man.ts";

/** The name of the program. */
export const PROGRAM = "vfiokit";

/** The program, in one line. */
export const BRIEF = "Save, restore and inspect VFIO devices without a virtual machine.";

/** Commands of two words. */
export const GROUPS: readonly CommandGroup[] = [
  { name: "phase", brief: "Run one phase of a save or a restore, over pipes." },
  { name: "import", brief: "Make checkpoints of other programs' files." },
  { name: "dirty", brief: "Show the pages that a device dirties." },
  { name: "trace", brief: "Show what --trace wrote." },
];

/** Every command. */
export const COMMANDS: readonly Command[] = [
  list,
  probe,
  state,
  reset,
  withDevices,
  serve,
  check,
  save,
  restore,
  checkpoint,
  phasePrecopy,
  phaseStopAndCopy,
  phaseResume,
  migrate,
  receive,
  keygen,
  verify,
  show,
  diff,
  importQemu,
  importCloudHypervisor,
  dirtyGet,
  dirtyWatch,
  dirtyForecast,
  unmap,
  traceShow,
  timeline,
  uapi,
  demo,
  man,
];
