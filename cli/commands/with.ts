/**
 * `vfiokit with`: hold devices open while a program works on them.
 *
 * @module
 */

import { libcKernel, openVfioDevices, parseDeviceName } from "../../mod.ts";
import { refuseSimulated, runProgram } from "../_child.ts";
import type { Context } from "../_context.ts";
import type { WithArgs } from "../table/inspect.ts";

/** Runs `with`. */
export async function run(args: WithArgs, context: Context): Promise<number> {
  refuseSimulated(args.devices);
  const names = args.devices.map(parseDeviceName);
  const devices = openVfioDevices(libcKernel(), names, args.vfToken);
  try {
    const lent = devices.map(({ label, fd, group, container }) => ({
      name: label,
      fds: {
        device: fd.number,
        group: group?.fd.number ?? null,
        container: container?.fd.number ?? null,
      },
    }));
    return await runProgram(args.command ?? [], lent, context, false);
  } finally {
    for (const device of devices.reverse()) device.close();
  }
}
