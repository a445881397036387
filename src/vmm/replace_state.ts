/**
 * Another state for a device whose VMM is paused, and the former one again if that fails.
 *
 * @module
 */

import { firstError } from "../base/cleanup.ts";
import type { Device } from "../migration/device.ts";
import { MigrationError } from "../migration/migration_error.ts";
import type { StateName } from "../vfio/state/states.ts";
import { changedParts, type ConfigSpace, readConfigSpace } from "./config_space.ts";
import { migrationErrorOf, PausedVmError, reasonOf } from "./paused_vm_error.ts";

/** The steps of a replacement. Each begins and ends in STOP; none brings the device back itself. */
export interface StateReplacement<Value> {
  /** Saves the state that the device has. */
  readonly keep: () => Promise<unknown>;
  /** Loads the new state. */
  readonly load: () => Promise<Value>;
  /** Loads the state that was kept; the device may be RUNNING, after a reset. */
  readonly loadKept: () => Promise<unknown>;
}

/**
 * Replaces the state of a device in STOP, and leaves it in STOP. What the VMM has set in PCI
 * configuration space, with MSI and MSI-X, must be the same afterwards.
 *
 * If the new state cannot be loaded, the device is reset and gets its former state back. For use in
 * `whilePaused`.
 *
 * @throws {PausedVmError} `rolled-back` with what failed as its cause; `left-paused` if the former
 * state cannot be loaded either.
 * @throws What `keep` throws: the device has its state then.
 */
export async function replaceState<Value>(
  device: Device,
  { keep, load, loadKept }: StateReplacement<Value>,
): Promise<Value> {
  const before = await readConfigSpace(device);
  await keep();
  let failure: unknown;
  try {
    const value = await load();
    await demandConfig(device, before);
    return value;
  } catch (error) {
    failure = firstError(error);
  }
  await rollBack(device, loadKept, failure, before);
  throw new PausedVmError(
    "rolled-back",
    `${reasonOf(failure)}; the device has its former state again`,
    "stop",
    { cause: settled(failure) },
  );
}

/**
 * Loads the state that was kept, after a reset if the device is not in STOP.
 *
 * @param failure What failed before; null if that is not known.
 * @param before The configuration space that the VMM believes in, if it is known.
 * @throws {PausedVmError} `left-paused`.
 */
export async function rollBack(
  device: Device,
  loadKept: () => Promise<unknown>,
  failure: unknown,
  before?: ConfigSpace,
): Promise<void> {
  try {
    if ((await device.state()).state !== "stop") await device.reset();
    await loadKept();
    if (before !== undefined) await demandConfig(device, before);
  } catch (error) {
    const state = await device.state().then(({ state }) => state, (): StateName => "unknown");
    const first = failure === null ? "" : `${reasonOf(failure)}; `;
    throw new PausedVmError(
      "left-paused",
      `${first}the device's former state cannot be loaded: ${reasonOf(firstError(error))}; ` +
        `the device is ${state}. The virtual machine stays paused`,
      state,
      {
        hint:
          "The state that was kept is in its file: repair with it, or reset the virtual machine",
        cause: error,
      },
    );
  }
}

async function demandConfig(device: Device, before: ConfigSpace): Promise<void> {
  const changed = changedParts(before, await readConfigSpace(device));
  if (changed.length === 0) return;
  throw new PausedVmError(
    "config-changed",
    `The configuration space is another one now, and the VMM does not know: ${changed.join(", ")}`,
    (await device.state()).state,
  );
}

/** What failed, of a device that has been brought back since. */
function settled(failure: unknown): unknown {
  const error = migrationErrorOf(failure);
  if (error === null) return failure;
  const { code, errno, cause } = error;
  return new MigrationError(
    error.failure,
    { code, errno, deviceState: "stop", recovery: "none" },
    { cause },
  );
}
