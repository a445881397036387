/**
 * Bugs of a device of either protocol: reset, close, DMA, and its infos.
 */

import {
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_STATE_STOP,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_DEVICE_STATE_V1_SAVING,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_NUM_IRQS,
  vfioDeviceInfo,
  vfioIrqInfo,
  vfioRegionInfo,
} from "../../uapi/mod.ts";
import type { DeviceModel } from "../device/device_model.ts";
import { REGION_SHIFT } from "../device/region_info.ts";
import { STOP as V1_STOP } from "../v1/v1_states.ts";
import { V1Region } from "../v1/v1_region.ts";
import { override } from "./_override.ts";
import { onDeviceIoctl, type Plant, tolerated, withU32 } from "./_points.ts";

const FLAGS_AT: number = vfioDeviceInfo.offsetOf("flags");
const NUM_REGIONS_AT: number = vfioDeviceInfo.offsetOf("num_regions");
const INDEX_AT: number = vfioRegionInfo.offsetOf("index");
const IRQ_INDEX_AT: number = vfioIrqInfo.offsetOf("index");
const OFFSET_AT: number = vfioRegionInfo.offsetOf("offset");

/** Lets the device write to memory in one more state, given by its v1 and its v2 number. */
const writesIn = (v1: number, v2: number): Plant => (device) =>
  override(device, "writesMemory", (clean) => () => {
    const state = device.migration === null ? v2 : v1;
    return clean() || (device.opened && stateOf(device) === state);
  });

/** Lets an ioctl take an argsz that is too short for its struct. */
const takesShort = (request: number, size: number): Plant => (device) =>
  onDeviceIoctl(
    device,
    request,
    (call) => call.view.getUint32(0, true) < size ? withU32(call, 0, size) : call.clean(),
  );

/** The state, without the reserved bits of v1. */
function stateOf({ deviceState, migration }: DeviceModel): number | null {
  return migration === null || deviceState === null ? deviceState : deviceState & 7;
}

export const DEVICE_BUGS = {
  "close-keeps-state": (device) => {
    let kept: number | null = null;
    override(device, "close", (clean) => () => {
      kept = device.deviceState;
      clean();
    });
    override(device, "open", (clean) => () => {
      const first = !device.opened;
      clean();
      if (!first || kept === null) return;
      if (device.migration instanceof V1Region) device.migration.enter(kept);
      else device.v2?.enter(kept);
    });
  },
  "dma-in-stop": writesIn(V1_STOP, VFIO_DEVICE_STATE_STOP),
  "dma-in-stop-copy": writesIn(VFIO_DEVICE_STATE_V1_SAVING, VFIO_DEVICE_STATE_STOP_COPY),
  "stays-quiet": (device) => {
    let stopped = false;
    override(device, "open", (clean) => () => {
      if (!device.opened) stopped = false;
      clean();
    });
    override(device, "writesMemory", (clean) => () => {
      stopped ||= device.opened && !clean();
      return !stopped && clean();
    });
  },
  "irq-info-argsz": takesShort(VFIO_DEVICE_GET_IRQ_INFO, vfioIrqInfo.size),
  "irq-index": (device) =>
    onDeviceIoctl(device, VFIO_DEVICE_GET_IRQ_INFO, (call) => {
      const index = call.view.getUint32(IRQ_INDEX_AT, true);
      return index < VFIO_PCI_NUM_IRQS
        ? call.clean()
        : tolerated(() => withU32(call, IRQ_INDEX_AT, VFIO_PCI_INTX_IRQ_INDEX), 0);
    }),
  "region-info-argsz": takesShort(VFIO_DEVICE_GET_REGION_INFO, vfioRegionInfo.size),
  "region-index": (device) =>
    onDeviceIoctl(device, VFIO_DEVICE_GET_REGION_INFO, (call) => {
      const index = call.view.getUint32(INDEX_AT, true);
      return index < device.numRegions
        ? call.clean()
        : tolerated(() => withU32(call, INDEX_AT, VFIO_PCI_CONFIG_REGION_INDEX), 0);
    }),
  "regions-overlap": (device) =>
    onDeviceIoctl(device, VFIO_DEVICE_GET_REGION_INFO, (call) => {
      const result = call.clean();
      if (call.view.getUint32(INDEX_AT, true) === VFIO_PCI_BAR0_REGION_INDEX) {
        const offset = BigInt(VFIO_PCI_CONFIG_REGION_INDEX) << REGION_SHIFT;
        call.view.setBigUint64(OFFSET_AT, offset, true);
      }
      return result;
    }),
  "info-changes": (device) => {
    let asked = 0;
    onDeviceIoctl(device, VFIO_DEVICE_GET_INFO, (call) => {
      const result = call.clean();
      call.view.setUint32(NUM_REGIONS_AT, device.numRegions + asked, true);
      asked += 1;
      return result;
    });
  },
  "no-reset-flag": (device) =>
    onDeviceIoctl(device, VFIO_DEVICE_GET_INFO, (call) => {
      const result = call.clean();
      const flags = call.view.getUint32(FLAGS_AT, true);
      call.view.setUint32(FLAGS_AT, flags & ~VFIO_DEVICE_FLAGS_RESET, true);
      return result;
    }),
} as const satisfies Record<string, Plant>;
