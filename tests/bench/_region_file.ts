/**
 * The file that stands for a device: a v1 migration region with data in it.
 */

import * as fs from "node:fs";
import { VFIO_DEVICE_STATE_V1_RUNNING, vfioDeviceMigrationInfo } from "../../src/uapi/mod.ts";

/** Where the data lies in the region. */
const DATA_OFFSET = 4096;

/** Room for the data: the largest transaction. */
const DATA_ROOM = 1 << 20;

/** The file's size in bytes. */
export const REGION_SIZE: number = DATA_OFFSET + DATA_ROOM;

/** Writes a region that yields `bytes` in transactions of `size` bytes. */
export function writeRegion(path: string, bytes: number, size: number): void {
  const region = new Uint8Array(new ArrayBuffer(REGION_SIZE));
  vfioDeviceMigrationInfo.pack({
    device_state: VFIO_DEVICE_STATE_V1_RUNNING,
    pending_bytes: BigInt(bytes),
    data_offset: BigInt(DATA_OFFSET),
    data_size: BigInt(size),
  }, region);
  for (let at = DATA_OFFSET; at < REGION_SIZE; at++) region[at] = Math.imul(at, 2654435761) >>> 13;
  fs.writeFileSync(path, region);
}
