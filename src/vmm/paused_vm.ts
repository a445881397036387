/**
 * A device of a virtual machine that is paused for a while: its VMM gets it back in the state that
 * the VMM believes it to be in.
 *
 * @module
 */

import { firstError } from "../base/cleanup.ts";
import type { Device } from "../migration/device.ts";
import type { StateName } from "../vfio/state/states.ts";
import { PausedVmError, reasonOf } from "./paused_vm_error.ts";
import { rollBack } from "./replace_state.ts";
import type { QmpClient } from "./qmp/qmp_client.ts";

/** Whether the machine runs again. */
export interface PausedVmReport<Value> {
  /** What the use gave. */
  readonly value: Value;
  /** Whether it was running before, and runs again. */
  readonly running: boolean;
  /** How long it was paused, in milliseconds; null if it was paused before, and still is. */
  readonly pausedMs: number | null;
}

/**
 * Pauses a virtual machine, uses its device, which then is in STOP, and lets the machine go on if it
 * ran before. Whatever happens in between, the device is brought to STOP first; if that fails, the
 * machine stays paused, and the error says so (`left-paused`). After every other error the device is
 * the VMM's again.
 *
 * @param device A duplicate of the VMM's own.
 * @throws {PausedVmError} If the device is not the VMM's, or cannot be brought back.
 * @throws {QmpError} If the monitor cannot be asked, or does not pause the machine.
 */
export async function whilePaused<Value>(
  device: Device,
  monitor: QmpClient,
  use: () => Promise<Value>,
): Promise<PausedVmReport<Value>> {
  const { running } = await monitor.status();
  const begun = performance.now();
  if (running) await monitor.execute("stop");
  let value: Value;
  try {
    await demandStopped(device);
    value = await use();
  } catch (thrown) {
    const error = firstError(thrown);
    const code = error instanceof PausedVmError ? error.code : null;
    if (code === "left-paused") throw error;
    // A device that is not this VMM's was not touched.
    if (code !== "not-its-vmm") await toStop(device, error);
    if (running) await goOn(device, monitor, error);
    throw error;
  }
  await toStop(device);
  if (running) await goOn(device, monitor);
  return { value, running, pausedMs: running ? performance.now() - begun : null };
}

async function demandStopped(device: Device): Promise<void> {
  const { state } = await device.state();
  if (state === "stop") return;
  throw new PausedVmError(
    "not-its-vmm",
    `Cannot use the device: its VMM is paused, and the device is ${state}. The monitor may be ` +
      "that of another VMM",
    state,
    { hint: "Name the monitor of the process that has the device" },
  );
}

/** What {@linkcode repairVm} did. */
export interface RepairReport {
  /** The device's state before. */
  readonly from: StateName;
  /** The device's state now. */
  readonly state: StateName;
  /** Whether the state that was kept was loaded. */
  readonly rolledBack: boolean;
  /** Whether the machine was paused, and runs again. */
  readonly continued: boolean;
}

/** How to repair. */
export interface RepairOptions {
  /** Lets a paused machine stay paused. */
  readonly stayPaused?: boolean | undefined;
  /** Loads the state that a restore has kept, and leaves the device in STOP. */
  readonly loadKept?: (() => Promise<unknown>) | undefined;
}

/**
 * Brings a device and its VMM together again after a program has died in between: the device goes to
 * STOP if the machine is paused, with the state that a restore has kept, and the machine goes on; if
 * it runs, the device goes to RUNNING.
 *
 * @throws {PausedVmError} If the device cannot be brought there: the machine stays paused.
 * @throws {QmpError} If the monitor cannot be asked.
 */
export async function repairVm(
  device: Device,
  monitor: QmpClient,
  { stayPaused = false, loadKept }: RepairOptions = {},
): Promise<RepairReport> {
  const { running } = await monitor.status();
  const { state: from } = await device.state();
  const rolledBack = !running && loadKept !== undefined;
  if (running) {
    if (from !== "running") await device.setState("running", "leave");
  } else {
    if (loadKept === undefined) await toStop(device);
    else await rollBack(device, loadKept, null);
    if (!stayPaused) await goOn(device, monitor);
  }
  const { state } = await device.state();
  return { from, state, rolledBack, continued: !running && !stayPaused };
}

/** States from which an arc leads to STOP without losing anything that the VMM relies on. */
const BACK_TO_STOP: readonly StateName[] = [
  "stop-copy",
  "stop-and-copy",
  "pre-copy",
  "pre-copy-p2p",
  "running",
  "running-p2p",
];

/** Brings a device to STOP; `cause` is what failed before. */
async function toStop(device: Device, cause?: unknown): Promise<void> {
  let why = "";
  let state: StateName = "unknown";
  try {
    ({ state } = await device.state());
    if (BACK_TO_STOP.includes(state)) ({ state } = await device.setState("stop", "leave"));
    if (state === "stop") return;
  } catch (error) {
    why = ` (${reasonOf(error)})`;
    state = await device.state().then(({ state }) => state, () => "unknown");
  }
  if (state === "stop") return;
  throw leftPaused(`the device cannot be brought back to stop: it is ${state}${why}`, state, cause);
}

async function goOn(device: Device, monitor: QmpClient, cause?: unknown): Promise<void> {
  try {
    await monitor.execute("cont");
  } catch (error) {
    const { state } = await device.state();
    throw leftPaused(`the monitor does not continue the machine: ${reasonOf(error)}`, state, cause);
  }
}

function leftPaused(what: string, state: StateName, cause: unknown): PausedVmError {
  const first = cause === undefined ? "" : `${reasonOf(cause)}; `;
  return new PausedVmError(
    "left-paused",
    `${first}${first === "" ? what[0]!.toUpperCase() + what.slice(1) : what}. ` +
      "The virtual machine stays paused",
    state,
    {
      hint:
        "Repair it; if that fails, reset the virtual machine, or restore a checkpoint into the " +
        "device before the machine goes on",
      cause,
    },
  );
}
