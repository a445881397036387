/**
 * The files that stand for devices: a v1 migration region with data in it, and
 * the data of a v2 device.
 */

import * as fs from "node:fs";
import { VFIO_DEVICE_STATE_V1_RUNNING, vfioDeviceMigrationInfo } from "../../src/uapi/mod.ts";

/** Where the data lies in the region. */
const DATA_OFFSET = 4096;

/** Room for the data: the largest transaction. */
const DATA_ROOM = 1 << 20;

/** Bytes of device state. */
export const STATE_BYTES: number = 1 << 30;

/** The size of the file that stands for a v2 device: as much as one read gives. */
export const DATA_SIZE: number = 1 << 20;

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
  fillFrom(region, DATA_OFFSET);
  fs.writeFileSync(path, region);
}

/** Writes what a v2 device has. */
export function writeData(path: string): void {
  const data = new Uint8Array(new ArrayBuffer(DATA_SIZE));
  fillFrom(data, 0);
  fs.writeFileSync(path, data);
}

function fillFrom(bytes: Uint8Array, start: number): void {
  for (let at = start; at < bytes.length; at++) bytes[at] = Math.imul(at, 2654435761) >>> 13;
}
