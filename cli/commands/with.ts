/**
 * `vfiokit with`: hold devices open while a program works on them.
 *
 * @module
 */

import {
  openVfioDevices,
  parseDeviceName,
  shellWord,
  type VfioDevice,
} from "../../src/vfio/mod.ts";
import { libcKernel } from "../../src/kernel/mod.ts";
import { firstError, openDevice } from "../../mod.ts";
import { type Lendable, refuseSimulated, runProgram } from "../lending/run_program.ts";
import type { Context } from "../context.ts";
import { lendableVfio } from "../lending/open_devices.ts";
import type { WithArgs } from "../specs/probe_state_reset_with.ts";

/** Runs `with`. */
export async function run(args: WithArgs, context: Context): Promise<number> {
  refuseSimulated(args.devices);
  const names = args.devices.map(parseDeviceName);
  const { vfToken, via } = args;
  const kernel = context.trace?.kernel(libcKernel(), args.devices.join(" ")) ?? libcKernel();
  const devices = openVfioDevices(kernel, names, { vfToken, via });
  // Whichever of them cannot be closed; the last one first.
  using opened = new DisposableStack();
  for (const device of devices) opened.use(device);
  const exitCode = await runProgram(
    args.command ?? [],
    { devices: devices.map(lendable) },
    context,
  );
  for (const device of devices) {
    if (!device.borrowed) await tellState(device, context);
  }
  return exitCode;
}

function lendable(device: VfioDevice): Lendable {
  const { fd, group, container, ioas } = device;
  return lendableVfio(device, {
    device: fd.number,
    group: group?.fd.number ?? null,
    container: container?.fd.number ?? null,
    iommufd: ioas?.iommufd.fd.number ?? null,
  });
}

/** Says in which state the program left a device, if that is not the one it will be opened in. */
async function tellState({ label, fd }: VfioDevice, context: Context): Promise<void> {
  let state: string;
  try {
    await using device = await openDevice(`fd:${fd.number}`, { trace: context.trace });
    if (device.description.protocol === null) return;
    ({ state } = await device.state());
  } catch (error) {
    state = `unknown (${(firstError(error) as Error).message})`;
  }
  if (state === "running") return;
  context.note(
    `vfiokit with: ${label} was left in state ${state}, and is closed now. Where its driver keeps ` +
      `that, this ends it: vfiokit state ${shellWord(label)} running`,
  );
}
