/**
 * `vfiokit phase resume`: the resuming phase alone. Restores a device from a checkpoint on stdin;
 * the device then runs.
 *
 * @module
 */

import { openCheckpointFile, restore } from "../../../mod.ts";
import type { Context } from "../../context.ts";
import { refuseTerminalInput } from "../../output/transfer_report.ts";
import type { PhaseResumeArgs } from "../../specs/phase/phases.ts";
import { runPhase } from "./_phase.ts";

/** Runs `phase resume`. */
export function run(args: PhaseResumeArgs, context: Context): Promise<number> {
  refuseTerminalInput();
  return runPhase(args, context, {
    verb: "Resuming",
    async work(device): Promise<void> {
      const options = { force: args.force, signal: context.signal };
      await restore(device, await openCheckpointFile("-"), options);
    },
  });
}
