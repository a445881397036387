/**
 * The kernel that devices under check live in.
 */

import type { Kernel } from "../../kernel/kernel.ts";
import { SimKernel } from "../../sim/mod.ts";
import { type DeviceName, DeviceNameError, parseDeviceName } from "../../vfio/open/device_name.ts";
import { kernelFor, nameIn } from "../../vfio/open/kernel_for.ts";

/** Devices, and their kernel. */
export interface DevicesOn {
  /** The kernel. */
  readonly kernel: Kernel;
  /** The devices, as that kernel names them. */
  readonly names: readonly DeviceName[];
}

/**
 * The kernel that devices live in; simulated ones share one.
 *
 * @param kernel The caller's, in which `sim:` names are its devices in their order.
 * @throws {DeviceNameError} If some of them are simulated and others are not, or one of several is a
 * server's.
 */
export function devicesOn(names: readonly DeviceName[], kernel?: Kernel): DevicesOn {
  const specs = names.flatMap((name) => name.kind === "sim" ? [`sim:${name.spec}`] : []);
  if (specs.length > 0 && specs.length < names.length) {
    throw new DeviceNameError("Cannot check a simulated device together with a real one");
  }
  if (kernel === undefined && names.length > 1 && names.some(({ kind }) => kind === "vfio-user")) {
    throw new DeviceNameError("Cannot check a device of a server's together with another one");
  }
  if (specs.length === 0) {
    const own = kernel ?? kernelFor(names[0]!);
    return { kernel: own, names: names.map((name) => nameIn(own, name)) };
  }
  const simulated = kernel ?? new SimKernel(...specs);
  if (!(simulated instanceof SimKernel)) {
    throw new DeviceNameError(`Cannot open "${specs[0]}": this kernel is not a simulated one`);
  }
  return {
    kernel: simulated,
    names: specs.map((_, index) => parseDeviceName(simulated.devices[index]!.path)),
  };
}
