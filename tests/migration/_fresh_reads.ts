/**
 * A kernel that writes down each state that is asked of a device whose state was not read since
 * it could last have changed.
 */

import type { Kernel } from "../../src/kernel/kernel.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_RESET,
  vfioDeviceFeature,
} from "../../src/uapi/mod.ts";
import { tellingArcs } from "./_arcs.ts";

/** Whether this is the position of a v1 device_state, and only of that. */
function isRegister(bytes: Uint8Array, offset: number | bigint): boolean {
  return bytes.length === 4 && BigInt(offset) % (1n << 40n) === 0n;
}

/** The kernel, and what was written blindly, one text each. */
export function watchingReads(kernel: Kernel): { kernel: Kernel; blind: string[] } {
  const blind: string[] = [];
  const read = new Set<number>();
  const watched = tellingArcs(kernel, (fd, state) => {
    if (!read.delete(fd)) blind.push(`${state} was asked of fd ${fd}, whose state was not read`);
  });
  const ioctl: Kernel["ioctl"] = (fd, request, arg) => {
    const result = watched.ioctl(fd, request, arg);
    if (request === VFIO_DEVICE_RESET) read.delete(fd);
    if (request === VFIO_DEVICE_FEATURE && arg instanceof Uint8Array) {
      const { flags } = vfioDeviceFeature.unpack(arg);
      if (flags === (VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE)) read.add(fd);
    }
    return result;
  };
  const pread: Kernel["pread"] = (fd, bytes, offset) => {
    const result = watched.pread(fd, bytes, offset);
    if (isRegister(bytes, offset)) read.add(fd);
    return result;
  };
  return {
    blind,
    kernel: new Proxy(kernel, {
      get(target, key): unknown {
        if (key === "ioctl") return ioctl;
        if (key === "pread") return pread;
        if (key === "pwrite") return watched.pwrite;
        const value = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    }),
  };
}
