/**
 * Memory that is there: a few bytes are written to each page. More of them would leave more behind,
 * which counts as taken.
 */

import type { Device } from "../../mod.ts";

const PAGE = 4096n;
/** Pages that are written to without waiting for each. */
const AT_ONCE = 512n;
const SOME = new Uint8Array(8).fill(1);

/** Writes to each page of a device's memory. */
export async function touchMemory(device: Device): Promise<void> {
  for (const { iova, size } of device.description.mappings) {
    const end = iova + size;
    for (let at = iova; at < end;) {
      const writing: Promise<void>[] = [];
      for (let left = AT_ONCE; left > 0n && at < end; left--, at += PAGE) {
        writing.push(device.writeMemory(at, SOME));
      }
      await Promise.all(writing);
    }
  }
}
