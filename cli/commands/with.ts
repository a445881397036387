/**
 * `vfiokit with`: hold devices open while a program works on them.
 *
 * @module
 */

import { openVfioDevices, parseDeviceName, shellWord } from "../../src/vfio/mod.ts";
import { libcKernel } from "../../src/kernel/mod.ts";
import { type Device, firstError, openDevice, openDevices } from "../../mod.ts";
import { type Lendable, refuseUnlendable, runProgram } from "../lending/run_program.ts";
import type { Context } from "../context.ts";
import { lendable, lendableVfio } from "../lending/open_devices.ts";
import { SimulatedDevices } from "../lending/simulated_devices.ts";
import type { WithArgs } from "../specs/probe_state_reset_with.ts";

/** Runs `with`. */
export async function run(args: WithArgs, context: Context): Promise<number> {
  refuseUnlendable(args.devices);
  const { trace } = context;
  await using simulated = await SimulatedDevices.serve(args.devices);
  await using lent = await openDevices(args.devices.filter(isSimulated), {
    trace,
    channels: simulated.channels.filter((channel) => channel !== undefined),
  });
  const real = args.devices.filter((name) => !isSimulated(name));
  const { vfToken, via } = args;
  const kernel = trace?.kernel(libcKernel(), real.join(" ")) ?? libcKernel();
  const devices = openVfioDevices(kernel, real.map(parseDeviceName), { vfToken, via });
  // Whichever of them cannot be closed; the last one first.
  using opened = new DisposableStack();
  for (const device of devices) opened.use(device);
  const ofSimulated = lent.map(lendable).values();
  const ofReal = devices.map(lendableVfio).values();
  const inOrder = args.devices.map((name) =>
    (isSimulated(name) ? ofSimulated : ofReal).next().value as Lendable
  );
  const exitCode = await runProgram(args.command ?? [], { devices: inOrder }, context);
  for (const device of lent) await tellState(device.name, device, context);
  for (const { borrowed, label, fd } of devices) {
    if (borrowed) continue;
    const open = openDevice(`fd:${fd.number}`, { trace });
    await tellState(label, open, context);
  }
  return exitCode;
}

function isSimulated(name: string): boolean {
  return name.startsWith("sim:");
}

/** Says in which state the program left a device, if that is not the one it will be opened in. */
async function tellState(
  label: string,
  opened: Device | Promise<Device>,
  context: Context,
): Promise<void> {
  let state: string;
  try {
    await using device = await opened;
    if (device.description.protocol === null) return;
    ({ state } = await device.state());
  } catch (error) {
    state = `unknown (${(firstError(error) as Error).message})`;
  }
  if (state === "running") return;
  const kept = isSimulated(label)
    ? ""
    : `. Where its driver keeps that, this ends it: vfiokit state ${shellWord(label)} running`;
  context.note(
    `vfiokit with: ${label} was left in state ${state}, and is closed now${kept}`,
  );
}
