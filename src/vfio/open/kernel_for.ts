/**
 * Which kernel a device's name belongs to: the running one, or a simulated one.
 *
 * @module
 */

import type { Kernel } from "../../kernel/kernel.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { SimKernel } from "../../sim/mod.ts";
import { type SharedTrace, TraceKernel, traceTo } from "../../trace/mod.ts";
import {
  type DeviceName,
  DeviceNameError,
  formatDeviceName,
  parseDeviceName,
} from "./device_name.ts";

/**
 * The kernel that a name belongs to; a `sim:` name makes one of its own, with
 * that device in it.
 *
 * @throws {SimSpecError} If what follows `sim:` is no simulated device.
 * @throws {Error} If the running system is not Linux.
 *
 * @example
 * ```ts
 * import { parseDeviceName } from "@vfiokit/vfiokit/vfio";
 * import { kernelFor } from "./kernel_for.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(kernelFor(parseDeviceName("sim:trapped")).name, "sim");
 * ```
 */
export function kernelFor(name: DeviceName): Kernel {
  return name.kind === "sim" ? new SimKernel(`sim:${name.spec}`) : libcKernel();
}

/** The kernel to look for a device in. */
export interface KernelOptions {
  /** This one; by default the one that the device's name belongs to. */
  readonly kernel?: Kernel | undefined;
  /** Where to report each call to it. */
  readonly trace?: SharedTrace | undefined;
}

/** The kernel that was chosen, or the one that the name belongs to; traced if that is wanted. */
export function kernelOf(name: DeviceName, { kernel, trace }: KernelOptions): Kernel {
  const own = kernel ?? kernelFor(name);
  return trace === undefined ? own : traceTo(trace, own, formatDeviceName(name));
}

/**
 * The name that a kernel itself knows a device by: for `sim:` that of the
 * kernel's first device, else the name as it is.
 *
 * @throws {DeviceNameError} For a `sim:` name where the kernel is not simulated.
 */
export function nameIn(kernel: Kernel, name: DeviceName): DeviceName {
  if (name.kind !== "sim") return name;
  const traced = kernel instanceof TraceKernel ? kernel.traced : kernel;
  const device = traced instanceof SimKernel ? traced.devices[0] : undefined;
  if (device !== undefined) return parseDeviceName(device.path);
  throw new DeviceNameError(`Cannot open "sim:${name.spec}": this kernel is not a simulated one`);
}
