/**
 * Bugs of the info of a v1 migration region.
 */

import {
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_PCI_NUM_REGIONS,
  VFIO_REGION_INFO_FLAG_WRITE,
  vfioInfoCapHeader,
  vfioRegionInfo,
  vfioRegionInfoCapSparseMmap,
} from "../../uapi/mod.ts";
import { REGISTERS_SIZE } from "../v1/registers.ts";
import { PAGE } from "../state/pages.ts";
import { type DeviceCall, onDeviceIoctl, type Plant, regionOf } from "./_points.ts";

const INDEX_AT: number = vfioRegionInfo.offsetOf("index");
const FLAGS_AT: number = vfioRegionInfo.offsetOf("flags");
const SIZE_AT: number = vfioRegionInfo.offsetOf("size");
const CAP_OFFSET_AT: number = vfioRegionInfo.offsetOf("cap_offset");
const NEXT_AT: number = vfioInfoCapHeader.offsetOf("next");
/** Bytes from a sparse mmap capability to its first area's offset, and to that area's size. */
const AREA_OFFSET: number = vfioRegionInfoCapSparseMmap.size;
const AREA_SIZE: number = AREA_OFFSET + 8;

/** Changes the info of the migration region. */
const onInfo = (change: (view: DataView) => void): Plant => (device) =>
  onDeviceIoctl(device, VFIO_DEVICE_GET_REGION_INFO, (call: DeviceCall) => {
    const result = call.clean();
    if (call.view.getUint32(INDEX_AT, true) === VFIO_PCI_NUM_REGIONS) change(call.view);
    return result;
  });

/** The offset of the last capability; 0 if the caller had no room for any. */
function lastCapability(view: DataView): number {
  let at = view.getUint32(CAP_OFFSET_AT, true);
  for (let next = at; next !== 0; next = view.getUint32(at + NEXT_AT, true)) at = next;
  return at;
}

/** Changes the first area of the sparse mmap capability, which is the last one. */
const onArea = (change: (view: DataView, at: number) => void): Plant =>
  onInfo((view) => {
    const at = lastCapability(view);
    if (at !== 0) change(view, at);
  });

export const V1_REGION_BUGS = {
  "region-read-only": onInfo((view) => {
    const flags = view.getUint32(FLAGS_AT, true);
    view.setUint32(FLAGS_AT, flags & ~VFIO_REGION_INFO_FLAG_WRITE, true);
  }),
  "region-small": onInfo((view) => view.setBigUint64(SIZE_AT, BigInt(REGISTERS_SIZE), true)),
  "caps-endless": onInfo((view) => {
    const at = lastCapability(view);
    if (at !== 0) view.setUint32(at + NEXT_AT, view.getUint32(CAP_OFFSET_AT, true), true);
  }),
  "area-outside": (device) => {
    const { size } = regionOf(device);
    onArea((view, at) => view.setBigUint64(at + AREA_SIZE, BigInt(size), true))(device);
  },
  "area-empty": onArea((view, at) => view.setBigUint64(at + AREA_SIZE, 0n, true)),
  "area-unaligned": onArea((view, at) => {
    const offset = view.getBigUint64(at + AREA_OFFSET, true);
    const size = view.getBigUint64(at + AREA_SIZE, true);
    view.setBigUint64(at + AREA_OFFSET, offset + 8n, true);
    view.setBigUint64(at + AREA_SIZE, size > BigInt(PAGE) ? size - BigInt(PAGE) : size - 8n, true);
  }),
} as const satisfies Record<string, Plant>;
