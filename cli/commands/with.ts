/**
 * `vfiokit with`: hold devices open while a program works on them.
 *
 * @module
 */

import { type Device, openDevice } from "../../mod.ts";
import { refuseSimulated, runProgram } from "../_child.ts";
import type { Context } from "../_context.ts";
import { openOptions } from "../_devices.ts";
import type { WithArgs } from "../table/inspect.ts";

/** Runs `with`. */
export async function run(args: WithArgs, context: Context): Promise<number> {
  refuseSimulated(args.devices);
  await using open = new AsyncDisposableStack();
  const devices: Device[] = [];
  for (const name of args.devices) {
    devices.push(open.use(await openDevice(name, openOptions(args))));
  }
  return await runProgram(args.command ?? [], devices, context, false);
}
