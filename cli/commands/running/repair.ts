/**
 * `vfiokit state pid:N --repair`: brings a device and its VMM together again.
 *
 * @module
 */

import { existsSync, rmSync } from "node:fs";
import process from "node:process";
import { openCheckpointFile, openDevice, restore } from "../../../mod.ts";
import { ProcessDevice, QmpClient, repairVm } from "../../../src/vmm/mod.ts";
import type { Context } from "../../context.ts";
import type { StateArgs } from "../../specs/probe_state_reset_with.ts";
import { UsageError } from "../../usage_error.ts";

/** What a guard says once it holds the device, and what it is told if there is nothing to do. */
export const READY = "ready";
/** See {@linkcode READY}. */
export const DONE_WORD = "done";

/** Runs `state --repair`. */
export async function run(args: StateArgs, context: Context): Promise<number> {
  const { device: name, qmp, guard, stayPaused, rollback } = args;
  if (qmp === undefined) {
    throw new UsageError("Cannot repair without the monitor of the VMM: --qmp SOCKET");
  }
  if (args.targets.length > 0 || args.hold || args.command !== undefined) {
    throw new UsageError("Cannot repair and set or hold a state: the VMM has the device");
  }
  // A guard holds the device from now on: its VMM may end meanwhile.
  using taken = ProcessDevice.take(name);
  context.set({ device: taken.name });
  if (guard) {
    process.stdout.write(`${READY}\n`);
    if (await saidDone()) return 0;
  }
  // A restore that was killed before its file was whole has not loaded anything.
  const kept = rollback !== undefined && (!guard || existsSync(rollback)) ? rollback : undefined;
  await using device = await openDevice(`fd:${taken.own}`, { onError: "leave" });
  using monitor = await QmpClient.connect(qmp);
  const loadKept = kept === undefined ? undefined : async (): Promise<void> => {
    await using source = await openCheckpointFile(kept);
    await restore(device, source, { leave: "stop" });
  };
  const report = await repairVm(device, monitor, { stayPaused, loadKept });
  const { from, state, rolledBack, continued } = report;
  if (kept !== undefined) rmSync(kept);
  context.stands = true;
  context.set({ from, state, rolledBack, continued });
  const went = from === state ? `is ${state}, as before` : `went from ${from} to ${state}`;
  const machine = continued
    ? "was paused, and goes on"
    : state === "stop"
    ? "stays paused"
    : "runs";
  context.print(
    `${taken.name} ${went}${rolledBack ? ", with the state that was kept" : ""}; ` +
      `the virtual machine ${machine}.`,
  );
  return 0;
}

/** Waits for the end of stdin; whether it says that all is done. */
async function saidDone(): Promise<boolean> {
  let text = "";
  process.stdin.setEncoding("utf8");
  for await (const part of process.stdin) text = (text + part).slice(-16);
  return text.trim() === DONE_WORD;
}
