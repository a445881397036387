/**
 * VFIO_DEVICE_GET_REGION_INFO: a region's info, with its capability chain.
 */

import {
  VFIO_REGION_INFO_CAP_SPARSE_MMAP,
  VFIO_REGION_INFO_CAP_TYPE,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
  VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
  type VfioRegionInfo,
  vfioRegionInfo,
  vfioRegionInfoCapSparseMmap,
  vfioRegionInfoCapType,
} from "../../uapi/mod.ts";
import { chain, setNext } from "../os/capabilities.ts";
import type { FaultPlan } from "../faults/fault_plan.ts";
import type { DeviceModel } from "./device_model.ts";
import type { Bytes } from "../os/bytes.ts";
import type { MigrationRegion } from "../driver/region.ts";

/** A region's index begins at this bit of the device file's offset, as in vfio-pci. */
export const REGION_SHIFT = 40n;

/** A region's info, and the capabilities that follow it. */
export interface RegionAnswer {
  /** The struct; the caller sets argsz and cap_offset. */
  readonly info: VfioRegionInfo;
  /** The capability chain; empty if there is none. */
  readonly capabilities: Bytes;
}

/** The answer for a region of a device. */
export function regionAnswer(device: DeviceModel, index: number): RegionAnswer {
  const region = device.region(index);
  const migration = region !== undefined && region === device.migration ? device.migration : null;
  const empty = migration !== null && device.faults.standing("region-size-zero") !== undefined;
  const areas = empty ? null : migration?.areas ?? null;
  const capabilities = migration === null
    ? new Uint8Array(0)
    : migrationChain(areas, device.faults);
  const flags = (region?.flags ?? 0) & ~(empty ? VFIO_REGION_INFO_FLAG_MMAP : 0);
  return {
    info: {
      argsz: 0,
      flags: flags | (capabilities.length > 0 ? VFIO_REGION_INFO_FLAG_CAPS : 0),
      index,
      cap_offset: 0,
      size: BigInt(empty ? 0 : region?.size ?? 0),
      offset: BigInt(index) << REGION_SHIFT,
    },
    capabilities,
  };
}

function migrationChain(areas: MigrationRegion["areas"], faults: FaultPlan): Bytes {
  const list = [vfioRegionInfoCapType.pack({
    header: { id: VFIO_REGION_INFO_CAP_TYPE, version: 1, next: 0 },
    type: VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
    subtype: VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
  })];
  if (areas !== null) {
    list.push(vfioRegionInfoCapSparseMmap.pack({
      header: { id: VFIO_REGION_INFO_CAP_SPARSE_MMAP, version: 1, next: 0 },
      nr_areas: areas.length,
      areas: areas.map(({ offset, size }) => ({ offset: BigInt(offset), size: BigInt(size) })),
    }));
  }
  return broken(chain(list, vfioRegionInfo.size), faults);
}

/** The chain with the faults applied; the first capability is always valid. */
function broken(bytes: Bytes, faults: FaultPlan): Bytes {
  const { size } = vfioRegionInfo;
  const first = vfioRegionInfoCapType.size;
  if (faults.standing("caps-loop") !== undefined) {
    setNext(bytes, bytes.length > first ? first : 0, size);
  }
  if (faults.standing("caps-outside") !== undefined) setNext(bytes, 0, size + bytes.length + 4096);
  if (faults.standing("caps-odd") !== undefined) setNext(bytes, 0, size + first - 3);
  if (faults.standing("caps-truncated") !== undefined) {
    // A sparse mmap capability that ends before the areas it announces.
    const cut = new Uint8Array(first + vfioRegionInfoCapSparseMmap.size);
    cut.set(bytes.subarray(0, first));
    setNext(cut, 0, size + first);
    vfioRegionInfoCapSparseMmap.pack(
      { header: { id: VFIO_REGION_INFO_CAP_SPARSE_MMAP, version: 1, next: 0 }, nr_areas: 0 },
      cut,
      first,
    );
    new DataView(cut.buffer).setUint32(first + 8, 2, true);
    return cut;
  }
  return bytes;
}
