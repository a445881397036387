/**
 * `vfiokit reset`: reset a device.
 *
 * @module
 */

import { openDevice } from "../../mod.ts";
import type { Context } from "../context.ts";
import { openOptions } from "../lending/open_devices.ts";
import type { ResetArgs } from "../specs/probe_state_reset_with.ts";

/** Runs `reset`. */
export async function run(args: ResetArgs, context: Context): Promise<number> {
  context.set({ device: args.device, protocol: null, state: null, raw: null, notes: [] });
  await using device = await openDevice(args.device, openOptions(args, [args.device], context));
  context.drivers = [device];
  context.set({ protocol: device.description.protocol });
  const report = await device.reset({ signal: context.signal });
  context.stands = true;
  context.set({
    protocol: report?.protocol ?? null,
    state: report?.state ?? null,
    raw: report?.raw ?? null,
  });
  context.print(`${args.device}: reset${report === null ? "" : `, ${report.state}`}`);
  return 0;
}
