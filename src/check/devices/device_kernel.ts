/**
 * The kernels that devices under check live in.
 */

import type { Kernel } from "../../kernel/kernel.ts";
import { SimKernel } from "../../sim/mod.ts";
import {
  type DeviceName,
  DeviceNameError,
  formatDeviceName,
  parseDeviceName,
} from "../../vfio/open/device_name.ts";
import { kernelFor, nameIn } from "../../vfio/open/kernel_for.ts";

/** A device in its kernel. */
export interface DeviceInKernel {
  /** The kernel. */
  readonly kernel: Kernel;
  /** The device, as that kernel names it. */
  readonly name: DeviceName;
}

/**
 * The kernels that devices live in: simulated ones share one, real ones the running one, and each
 * one of a server's has its own.
 *
 * @param kernel The caller's, in which `sim:` names are its devices in their order.
 * @throws {DeviceNameError} If some of them are simulated and others are not, or one is named twice.
 */
export function devicesInKernels(
  names: readonly DeviceName[],
  kernel?: Kernel,
): readonly DeviceInKernel[] {
  const specs = names.flatMap((name) => name.kind === "sim" ? [`sim:${name.spec}`] : []);
  if (specs.length > 0 && specs.length < names.length) {
    throw new DeviceNameError("Cannot check a simulated device together with another kind");
  }
  if (specs.length > 0) return simulated(specs, kernel ?? new SimKernel(...specs));
  refuseTwice(names);
  // An fd can be the channel to a server.
  const separate = names.some(({ kind }) => kind === "vfio-user" || kind === "fd");
  const shared = kernel ?? (separate ? null : kernelFor(names[0]!));
  return names.map((name) => {
    const own = shared ?? kernelFor(name);
    return { kernel: own, name: nameIn(own, name) };
  });
}

function simulated(specs: readonly string[], kernel: Kernel): readonly DeviceInKernel[] {
  if (!(kernel instanceof SimKernel)) {
    throw new DeviceNameError(`Cannot open "${specs[0]}": this kernel is not a simulated one`);
  }
  return specs.map((_, index) => ({ kernel, name: parseDeviceName(kernel.devices[index]!.path) }));
}

/** Its server would keep the second client waiting. */
function refuseTwice(names: readonly DeviceName[]): void {
  const served = names.filter(({ kind }) => kind === "vfio-user").map(formatDeviceName);
  const twice = served.find((name, index) => served.indexOf(name) < index);
  if (twice !== undefined) throw new DeviceNameError(`Cannot check "${twice}" with itself`);
}
