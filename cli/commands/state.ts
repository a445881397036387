/**
 * `vfiokit state`: show or change a device's migration state.
 *
 * @module
 */

import { isLost } from "../../src/vfio/mod.ts";
import { openDevice, type StateReport } from "../../mod.ts";
import { refuseSimulated, runProgram } from "../lending/child.ts";
import type { Context } from "../context.ts";
import {
  closed,
  hold,
  holdFailed,
  lendable,
  openOptions,
  refuseQuirk,
} from "../lending/devices.ts";
import { hex } from "../output/format.ts";
import { NEEDS_RESET } from "../exit_codes.ts";
import { UsageError } from "../usage_error.ts";
import type { StateArgs } from "../specs/inspect.ts";

/** Runs `state`. */
export async function run(args: StateArgs, context: Context): Promise<number> {
  const { target, command } = args;
  context.set({ device: args.device, protocol: null, state: null, raw: null, notes: [] });
  if (command !== undefined) {
    if (args.hold) throw new UsageError("Cannot use both --hold and a program: either one holds");
    refuseSimulated([args.device]);
  }
  await using device = await openDevice(args.device, openOptions(args, [args.device], context));
  context.drivers = [device];
  refuseQuirk(args, [device]);
  let report: StateReport;
  try {
    report = target === undefined ? await device.state() : await device.setState(target);
  } catch (error) {
    return await holdFailed(error, args, context);
  }
  context.stands = true;
  context.set({ ...report });
  context.print(`${args.device}: ${describe(report)}`);
  context.publish();
  if (command !== undefined) {
    return await runProgram(command, [lendable(device)], context, args.json);
  }
  if (args.hold) return await hold(context);
  if (isLost(report.state, "none")) {
    context.note(`vfiokit state: only a reset leads on: vfiokit reset ${args.device}`);
    return NEEDS_RESET;
  }
  if (target !== undefined && !device.description.borrowed) {
    context.note(closed(1));
  }
  return 0;
}

function describe({ state, protocol, raw }: StateReport): string {
  return raw === null
    ? `${state} (${protocol})`
    : `${state} (${protocol}, device_state ${hex(raw, 8)})`;
}
