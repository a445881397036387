/**
 * A kernel that tells which migration state is asked of which device.
 */

import type { Kernel } from "../../src/kernel/kernel.ts";
import { v2StateName } from "../../src/sim/v2/v2_states.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_SET,
  vfioDeviceFeature,
  vfioDeviceFeatureMigState,
} from "../../src/uapi/mod.ts";

/**
 * The kernel; `tell` hears of a state before it is asked for: `STOP_COPY`, or
 * of v1 its bits, `010b`.
 */
export function tellingArcs(kernel: Kernel, tell: (fd: number, state: string) => void): Kernel {
  const ioctl: Kernel["ioctl"] = (fd, request, arg) => {
    if (request === VFIO_DEVICE_FEATURE && arg instanceof Uint8Array) {
      const { flags } = vfioDeviceFeature.unpack(arg);
      if (flags === (VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE)) {
        const { device_state } = vfioDeviceFeatureMigState.unpack(arg, vfioDeviceFeature.size);
        tell(fd, v2StateName(device_state));
      }
    }
    return kernel.ioctl(fd, request, arg);
  };
  const pwrite: Kernel["pwrite"] = (fd, bytes, offset) => {
    // The first register of a v1 migration region.
    if (bytes.length === 4 && BigInt(offset) % (1n << 40n) === 0n) {
      tell(fd, `${(bytes[0]! & 7).toString(2).padStart(3, "0")}b`);
    }
    return kernel.pwrite(fd, bytes, offset);
  };
  return new Proxy(kernel, {
    get(target, key): unknown {
      if (key === "ioctl") return ioctl;
      if (key === "pwrite") return pwrite;
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
