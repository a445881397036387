/**
 * `vfiokit state`: show or change a device's migration state.
 *
 * @module
 */

import { isLost, shellWord, type StateName } from "../../src/vfio/mod.ts";
import { isProcessDevice, ProcessDevice } from "../../src/vmm/mod.ts";
import { type Device, openDevice, probe, type StateReport } from "../../mod.ts";
import { keepOpen, noteClosed, refuseBoth } from "../lending/keep_open.ts";
import { refuseUnlendable } from "../lending/run_program.ts";
import type { Context } from "../context.ts";
import { holdFailed, openOptions, refuseQuirk } from "../lending/open_devices.ts";
import { SimulatedDevices } from "../lending/simulated_devices.ts";
import { hex, shortTime } from "../output/format.ts";
import { NEEDS_RESET } from "../exit_codes.ts";
import { UsageError } from "../usage_error.ts";
import type { StateArgs } from "../specs/probe_state_reset_with.ts";

/** Runs `state`. */
export async function run(args: StateArgs, context: Context): Promise<number> {
  const { targets, command } = args;
  context.set({ device: args.device, protocol: null, state: null, raw: null, arcs: [], notes: [] });
  if (args.repair) {
    const { run } = await import("./running/repair.ts");
    return await run(args, context);
  }
  if (args.qmp !== undefined || args.rollback !== undefined || args.guard || args.stayPaused) {
    throw new UsageError(
      "Cannot use --qmp, --rollback, --stay-paused or --guard without --repair",
    );
  }
  if (isProcessDevice(args.device)) return await stateOfProcess(args, context);
  refuseBoth(args);
  if (command !== undefined) refuseUnlendable([args.device]);
  await using lent = await SimulatedDevices.serve(command === undefined ? [] : [args.device]);
  await using device = await openDevice(args.device, {
    ...openOptions(args, [args.device], context),
    channel: lent.channels[0],
  });
  context.drivers = [device];
  context.set({ protocol: device.description.protocol });
  refuseQuirk(args, [device]);
  let report: StateReport;
  try {
    const [first, ...others] = targets;
    report = first === undefined ? await device.state() : await device.setState(first);
    for (const target of others) report = await device.setState(target);
  } catch (error) {
    // A thread that has died has nothing to tell, and that is the error.
    await tellArcs(device, context).catch(() => {});
    return await holdFailed(error, args, context);
  }
  context.stands = true;
  context.set({ ...report });
  const said = `${args.device}: ${describe(report)}`;
  if (targets.length === 0) context.print(said);
  else context.summarize(said);
  await tellArcs(device, context);
  const kept = await keepOpen(args, [device], context);
  if (kept !== null) return kept;
  if (isLost(report.state, "none")) {
    const way = waysOut(report.state, shellWord(args.device));
    context.failed(`state-${report.state}`, `The device is in state ${report.state}`, report.state);
    context.note(`vfiokit state: ${way}`);
    return NEEDS_RESET;
  }
  if (targets.length > 0) noteClosed([device], context);
  return 0;
}

/** Reads the state of a device that another process drives, and sets nothing. */
async function stateOfProcess(args: StateArgs, context: Context): Promise<number> {
  if (args.targets.length > 0 || args.hold || args.command !== undefined) {
    throw new UsageError(
      "Cannot set or hold the state of a device of another process: it would not know of it",
    );
  }
  using taken = ProcessDevice.take(args.device);
  context.set({ device: taken.name });
  const name = `fd:${taken.own}`;
  const { protocol } = probe(name, { trace: context.trace });
  context.set({ protocol });
  if (protocol === "v1") {
    context.print(`${taken.name}: left out (v1): reading its registers may have side effects`);
    return 0;
  }
  await using device = await openDevice(name, openOptions(args, [name], context));
  context.drivers = [device];
  const report = await device.state();
  context.set({ ...report });
  context.print(`${taken.name}: ${describe(report)}`);
  context.note(`Process ${taken.pid} drives it: nothing was set.`);
  return 0;
}

/** Tells each arc that the device took, and its time. */
async function tellArcs(device: Device, context: Context): Promise<void> {
  const changes = await device.stateChanges();
  const arcs = changes.map(({ from, to, begun, ended }) => ({
    from,
    to,
    seconds: (ended - begun) / 1000,
  }));
  context.set({ arcs });
  context.summarize(
    ...arcs.map(({ from, to, seconds }) => `  ${from} → ${to}: ${shortTime(seconds * 1e6)}`),
  );
}

/** What to do about a state that no step leads out of, or that is not known. */
function waysOut(state: StateName, device: string): string {
  const reset = `vfiokit reset ${device}`;
  return state === "unknown"
    ? `the state could not be read; ask again: vfiokit state ${device}; if that fails too, ` +
      `reset the device: ${reset}`
    : `only a reset leads on: ${reset}`;
}

function describe({ state, protocol, raw }: StateReport): string {
  return raw === null
    ? `${state} (${protocol})`
    : `${state} (${protocol}, device_state ${hex(raw, 8)})`;
}
