/**
 * What a device says it is: its info, its configuration space, its reset.
 *
 * @module
 */

import {
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_PCI_CONFIG_REGION_INDEX,
  vfioDeviceInfo,
  vfioIrqInfo,
} from "../../uapi/mod.ts";
import { answered, attempt } from "../attempt.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck } from "../define.ts";
import { rule } from "../rules.ts";
import { RUNNING, stateName, STOP, STOP_COPY } from "../v2/states.ts";

const group = "identity";
/** Bytes of struct vfio_device_info in every kernel: flags, num_regions, num_irqs. */
const LEAST_INFO = 16;

/** The answer to VFIO_DEVICE_GET_INFO. */
interface InfoAnswer {
  readonly errno: string | null;
  readonly numIrqs: number;
  readonly text: string;
}

function readInfo(context: CheckContext, argsz: number): InfoAnswer {
  const bytes = new Uint8Array(vfioDeviceInfo.size);
  new DataView(bytes.buffer).setUint32(0, argsz, true);
  const answer = attempt(() =>
    context.kernel.ioctl(context.device.fd.number, VFIO_DEVICE_GET_INFO, bytes)
  );
  context.step(`VFIO_DEVICE_GET_INFO with argsz ${argsz} → ${answered(answer)}`);
  const { flags, num_regions, num_irqs } = vfioDeviceInfo.unpack(bytes);
  return {
    errno: answer.errno,
    numIrqs: num_irqs,
    text: `flags 0x${flags.toString(16)}, ${num_regions} regions, ${num_irqs} interrupts`,
  };
}

/** A VFIO_DEVICE_GET_IRQ_INFO that has to be refused. */
function refusedIrqInfo(context: CheckContext, index: number, argsz: number): void {
  const bytes = vfioIrqInfo.pack({ index });
  new DataView(bytes.buffer).setUint32(0, argsz, true);
  const answer = attempt(() =>
    context.kernel.ioctl(context.device.fd.number, VFIO_DEVICE_GET_IRQ_INFO, bytes)
  );
  context.step(`VFIO_DEVICE_GET_IRQ_INFO of ${index}, argsz ${argsz} → ${answered(answer)}`);
  // A driver may have no interrupts at all, and not know the request.
  if (answer.errno === "ENOTTY") context.skip("the driver has no VFIO_DEVICE_GET_IRQ_INFO");
  context.expect(answer.errno === "EINVAL", "it fails with EINVAL", answered(answer));
}

/** The first bytes of the configuration space; null if the device has none. */
function configSpace(context: CheckContext): string | null {
  const { device, kernel } = context;
  if ((device.flags & VFIO_DEVICE_FLAGS_PCI) === 0) return null;
  const region = device.regionOrNull(VFIO_PCI_CONFIG_REGION_INDEX);
  if (region === null || region.size < 64n) return null;
  // Vendor, device, revision and class; what lies between may change.
  const bytes = new Uint8Array(16);
  const { value, errno } = attempt(() => kernel.pread(device.fd.number, bytes, region.offset));
  if (value === null) return errno;
  return [0, 1, 2, 3, 8, 9, 10, 11].map((at) => bytes[at]!.toString(16).padStart(2, "0")).join("");
}

/** The checks of a device's identity. */
export const IDENTITY_CHECKS: readonly Check[] = [
  defineCheck({
    id: "device.info.stable",
    group,
    rules: [rule(124)],
    run: (context) => {
      const [first, again] = [readInfo(context, 24), readInfo(context, 24)];
      context.expect(first.errno === null, "it succeeds", `it failed with ${first.errno}`);
      context.expect(first.text === again.text, first.text, again.text);
    },
  }),
  defineCheck({
    id: "device.info.argsz-short",
    group,
    rules: [rule(122)],
    run: (context) => {
      const { errno } = readInfo(context, LEAST_INFO - 1);
      context.expect(errno === "EINVAL", "it fails with EINVAL", errno ?? "it succeeded");
    },
  }),
  defineCheck({
    id: "device.irqs.argsz-short",
    group,
    rules: [rule(122)],
    run: (context) => refusedIrqInfo(context, 0, vfioIrqInfo.size - 1),
  }),
  defineCheck({
    id: "device.irqs.unknown-index",
    group,
    rules: [rule(122)],
    run: (context) => {
      const { errno, numIrqs } = readInfo(context, vfioDeviceInfo.size);
      if (errno !== null) context.unclear(`VFIO_DEVICE_GET_INFO failed with ${errno}`);
      refusedIrqInfo(context, numIrqs, vfioIrqInfo.size);
    },
  }),
  defineCheck({
    id: "device.info.reset",
    group,
    rules: [rule(125)],
    run: (context) => {
      context.step(`flags 0x${context.device.flags.toString(16)}`);
      context.prefer(
        context.device.resettable,
        "the flags have VFIO_DEVICE_FLAGS_RESET",
        "the driver cannot reset the device, so nothing but a reset of its bus leads out of ERROR",
      );
    },
  }),
  defineCheck({
    id: "v2.identity.config-space-while-stopped",
    group,
    rules: [rule(38)],
    needs: { protocol: "v2" },
    run: (context) => {
      const before = configSpace(context);
      if (before === null) context.skip("the device has no PCI configuration space");
      for (const state of [STOP, STOP_COPY]) {
        context.v2.enter(state);
        const now = configSpace(context);
        context.step(`read the configuration space in ${stateName(state)}`);
        context.expect(now === before, `ids and class are ${before}`, `they are ${now}`);
        context.v2.enter(RUNNING);
      }
    },
  }),
];
