/**
 * The toolkit as a library, in the guest's own process: what does not need a
 * process of its own is shown this way, since starting one takes seconds here,
 * and on this thread, since starting another takes a second.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  createCheckpointFile,
  type Device,
  MigrationError,
  openCheckpointFile,
  openDevice,
  type OpenOptions,
  type PrecopyOptions,
  restore,
  type RestoreOptions,
  save,
  TransferError,
  type TransferReport,
} from "../../../mod.ts";
import { libcKernel } from "../../../src/kernel/libc/libc_kernel.ts";
import { parseDeviceName } from "../../../src/vfio/open/device_name.ts";
import { openVfioDevice } from "../../../src/vfio/open/open.ts";
import { V2Calls } from "../../migration/v2_cases/calls.ts";
import type { GuestDevice } from "./device.ts";
import type { Window } from "./programs.ts";

/** How it went, and the driver's window while the device was still open. */
export interface Transferred extends TransferReport {
  /** The window. */
  readonly window: Window;
}

function open({ uuid }: GuestDevice, options?: OpenOptions): Promise<Device> {
  return openDevice(uuid, { ...options, kernel: libcKernel() });
}

/** Lends a v2 device by its calls, one function each. */
export function withCalls<T>({ uuid }: Pick<GuestDevice, "uuid">, use: (calls: V2Calls) => T): T {
  const kernel = libcKernel();
  using device = openVfioDevice(kernel, parseDeviceName(uuid));
  using calls = new V2Calls(kernel, device.fd.number);
  return use(calls);
}

/** Reads the driver's window (region 0). */
export async function readWindow(device: Device): Promise<Window> {
  const view = new DataView((await device.readRegion(0, 0, 40)).buffer);
  return {
    violations: view.getUint32(8, true),
    differs: (view.getUint32(12, true) & 1) !== 0,
    size: Number(view.getBigUint64(16, true)),
    crc: view.getUint32(24, true),
    deviceState: view.getUint32(28, true) & 7,
    changedPages: Number(view.getBigUint64(32, true)),
  };
}

/** What a step of one device failed with: a save or a restore has it as its cause. */
export function stepError(error: unknown): unknown {
  return error instanceof TransferError && error.cause instanceof MigrationError
    ? error.cause
    : error;
}

/** Saves a device to a new file, and leaves it stopped. */
export async function saveTo(
  file: string,
  from: GuestDevice,
  precopy?: PrecopyOptions,
  options?: OpenOptions,
): Promise<Transferred> {
  await using device = await open(from, options);
  await using sink = await createCheckpointFile(file);
  const report = await save(device, sink, { leave: "stop", precopy });
  assert.equal(report.readBack.done, true);
  return { ...report, window: await readWindow(device) };
}

/** Restores a device from a file, and leaves it running. */
export async function restoreFrom(
  file: string,
  to: GuestDevice,
  options?: RestoreOptions,
): Promise<Transferred> {
  await using source = await openCheckpointFile(file);
  await using device = await open(to);
  const report = await restore(device, source, options);
  return { ...report, window: await readWindow(device) };
}
