/**
 * A device of a virtual machine that is paused for a while: its VMM gets it back in the state that
 * the VMM believes it to be in.
 *
 * @module
 */

import { registerErrorClass } from "../base/error_transfer.ts";
import { cleanedUpAsync } from "../base/cleanup.ts";
import { printable } from "../base/printable.ts";
import { VfiokitError } from "../base/vfiokit_error.ts";
import type { Device } from "../migration/device.ts";
import type { StateName } from "../vfio/state/states.ts";
import type { QmpClient } from "./qmp/qmp_client.ts";

/** Why a device could not be used while its VMM is paused. */
export type PausedVmErrorCode =
  /** The VMM's pause did not stop the device: it is another VMM's. */
  | "not-its-vmm"
  /** The device could not be brought to the state that the VMM believes in: that stays paused. */
  | "left-paused";

/** A device that its VMM could not be given back, or that is not that VMM's. */
export class PausedVmError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `PausedVmError`. */
  override readonly name = "PausedVmError";
  /** Why, as a code. */
  readonly code: PausedVmErrorCode;
  /** The state that was read last. */
  readonly deviceState: StateName;

  /** Makes the error. */
  constructor(code: PausedVmErrorCode, message: string, state: StateName, hint?: string) {
    super(printable(message), undefined, hint);
    this.code = code;
    this.deviceState = state;
  }
}

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
 * machine stays paused, and the error says so.
 *
 * @param device A duplicate of the VMM's own.
 * @throws {PausedVmError} If the device is not the VMM's, or cannot be brought back.
 * @throws {QmpError} If the monitor fails.
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
    const { state } = await device.state();
    if (state !== "stop") {
      throw new PausedVmError(
        "not-its-vmm",
        `Cannot use the device: its VMM is paused, and the device is ${state}. The monitor may be ` +
          "that of another VMM",
        state,
        "Name the monitor of the process that has the device",
      );
    }
    value = await use();
  } catch (error) {
    // A device that is not this VMM's was not touched.
    const own = !(error instanceof PausedVmError && error.code === "not-its-vmm");
    throw await cleanedUpAsync(error, async () => {
      if (own) await toStop(device);
      if (running) await monitor.execute("cont");
    });
  }
  await toStop(device);
  if (running) await monitor.execute("cont");
  return { value, running, pausedMs: running ? performance.now() - begun : null };
}

/** What {@linkcode repairVm} did. */
export interface RepairReport {
  /** The device's state before. */
  readonly from: StateName;
  /** The device's state now. */
  readonly state: StateName;
  /** Whether the machine was paused, and runs again. */
  readonly continued: boolean;
}

/**
 * Brings a device and its VMM together again after a program has died in between: the device goes to
 * STOP if the machine is paused, and the machine goes on; if it runs, the device goes to RUNNING.
 *
 * @throws {PausedVmError} If the device cannot be brought there: the machine stays paused.
 * @throws {QmpError} If the monitor fails.
 */
export async function repairVm(device: Device, monitor: QmpClient): Promise<RepairReport> {
  const { running } = await monitor.status();
  const { state: from } = await device.state();
  if (running) {
    if (from !== "running") await device.setState("running", "leave");
    return { from, state: (await device.state()).state, continued: false };
  }
  await toStop(device);
  await monitor.execute("cont");
  return { from, state: (await device.state()).state, continued: true };
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

async function toStop(device: Device): Promise<void> {
  const { state } = await device.state();
  if (state === "stop") return;
  let why: unknown = null;
  try {
    if (BACK_TO_STOP.includes(state)) await device.setState("stop", "leave");
  } catch (error) {
    why = error;
  }
  const after = (await device.state()).state;
  if (after === "stop") return;
  throw new PausedVmError(
    "left-paused",
    `Cannot bring the device back to stop: it is ${after}` +
      `${why instanceof Error ? ` (${why.message})` : ""}. The virtual machine stays paused`,
    after,
    "Reset the virtual machine, or restore a checkpoint into the device before it goes on",
  );
}
