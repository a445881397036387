/**
 * Which kernel a device's name belongs to: the running one, a simulated one, or one whose device is
 * a server's.
 *
 * @module
 */

import type { Kernel } from "../../kernel/kernel.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { SimKernel } from "../../sim/mod.ts";
import { isChannel, VfioUserKernel } from "../../vfio_user/mod.ts";
import {
  ReplayedCalls,
  replayTrace,
  type SharedTrace,
  TraceKernel,
  traceTo,
} from "../../trace/mod.ts";
import {
  type DeviceName,
  DeviceNameError,
  formatDeviceName,
  parseDeviceName,
} from "./device_name.ts";

/**
 * The kernel that a name belongs to; a `sim:` or `vfio-user:` name makes one of its own, with that
 * device in it. Nothing is opened yet.
 *
 * @throws {SimSpecError} If what follows `sim:` is no simulated device.
 * @throws {Error} If the running system is not Linux.
 *
 * @example
 * ```ts
 * import { parseDeviceName } from "vfiokit/vfio";
 * import { kernelFor } from "./kernel_for.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(kernelFor(parseDeviceName("sim:trapped")).name, "sim");
 * ```
 */
export function kernelFor(name: DeviceName): Kernel {
  if (name.kind === "sim") return new SimKernel(`sim:${name.spec}`);
  if (name.kind === "vfio-user") return new VfioUserKernel(name.path);
  if (name.kind === "fd" && isChannel(name.fd)) return reachedThrough(name.fd, name);
  return name.kind === "replay" ? replayTrace(name.path, name.thread) : libcKernel();
}

/** A kernel with the device of the server behind a channel. */
function reachedThrough(channel: number, name: DeviceName): VfioUserKernel {
  return new VfioUserKernel(formatDeviceName(name), { channel });
}

/** The kernel to look for a device in. */
export interface KernelOptions {
  /** The fd of a channel to a server of the device, which is reached through it. */
  readonly channel?: number | undefined;
  /** This one; by default the one that the device's name belongs to. */
  readonly kernel?: Kernel | undefined;
  /** Where to report each call to it. */
  readonly trace?: SharedTrace | undefined;
}

/** The kernel that was chosen, or the one that the name belongs to; traced if that is wanted. */
export function kernelOf(name: DeviceName, { kernel, trace, channel }: KernelOptions): Kernel {
  const own = kernel ??
    (channel === undefined ? kernelFor(name) : reachedThrough(channel, name));
  if (trace === undefined) return own;
  return traceTo(trace, own, formatDeviceName(name), formatDeviceName(nameIn(own, name)));
}

/**
 * The name that a kernel itself knows a device by: for `sim:` that of the
 * kernel's first device, for `replay:` that of the device whose calls were
 * recorded, for one that is reached through a channel that of its server, else the name as it is.
 *
 * @throws {DeviceNameError} For a `sim:` name where the kernel is not simulated, and a `replay:`
 * name where it does not replay a trace of one device.
 */
export function nameIn(kernel: Kernel, name: DeviceName): DeviceName {
  const traced = untraced(kernel);
  if (traced instanceof VfioUserKernel) return { kind: "vfio-user", path: traced.path };
  if (name.kind !== "sim" && name.kind !== "replay") return name;
  if (traced instanceof ReplayedCalls) return parseDeviceName(traced.device);
  const device = traced instanceof SimKernel ? traced.devices[0] : undefined;
  if (name.kind === "sim" && device !== undefined) return parseDeviceName(device.path);
  const kind = name.kind === "sim" ? "a simulated one" : "one that replays a trace";
  throw new DeviceNameError(`Cannot open "${formatDeviceName(name)}": this kernel is not ${kind}`);
}

/** A kernel without what traces it. */
export function untraced(kernel: Kernel): Kernel {
  let traced = kernel;
  while (traced instanceof TraceKernel) traced = traced.traced;
  return traced;
}
