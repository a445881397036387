/** A kernel that writes down what it is asked about a device's log. */

import type { Kernel } from "../../src/kernel/kernel.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_SET,
  vfioDeviceFeature,
  vfioDeviceFeatureDmaLoggingControl,
  vfioDeviceFeatureDmaLoggingReport,
} from "../../src/uapi/mod.ts";
import { intercept } from "./_session.ts";

/** One call about the log. */
export type LogCall =
  | { readonly what: "start"; readonly ranges: number; readonly pageSize: bigint }
  | { readonly what: "report"; readonly iova: bigint; readonly length: bigint }
  | { readonly what: "stop" };

/** The calls so far, and the kernel that writes them down; `answer` may change what START says. */
export function recording(
  answer?: (pageSize: bigint) => bigint,
): { readonly calls: LogCall[]; over(kernel: Kernel): Kernel } {
  const calls: LogCall[] = [];
  const over = (kernel: Kernel): Kernel =>
    intercept(kernel, (next, fd, request, arg) => {
      if (request !== VFIO_DEVICE_FEATURE || !(arg instanceof Uint8Array)) {
        return next(fd, request, arg);
      }
      const { flags } = vfioDeviceFeature.unpack(arg);
      const at = vfioDeviceFeature.size;
      const control = vfioDeviceFeatureDmaLoggingControl;
      switch (flags) {
        case VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START: {
          const { num_ranges, page_size } = control.unpack(arg, at);
          calls.push({ what: "start", ranges: num_ranges, pageSize: page_size });
          const result = next(fd, request, arg);
          if (answer === undefined) return result;
          const told = control.unpack(arg, at);
          control.pack({ ...told, page_size: answer(told.page_size) }, arg, at);
          return result;
        }
        case VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT: {
          const { iova, length } = vfioDeviceFeatureDmaLoggingReport.unpack(arg, at);
          calls.push({ what: "report", iova, length });
          break;
        }
        case VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP:
          calls.push({ what: "stop" });
          break;
      }
      return next(fd, request, arg);
    });
  return { calls, over };
}
