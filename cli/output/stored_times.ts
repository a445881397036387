/**
 * How a save went, as its checkpoint says it.
 *
 * @module
 */

import type { TransferReport } from "../../mod.ts";
import type { DevicePhaseTimes } from "../../src/checkpoint/mod.ts";
import { precopyWords, standstillParts } from "./downtime_words.ts";

/** What a checkpoint says of one device; null where it does not. */
export type StoredTimes = Pick<TransferReport["devices"][number], "precopy" | "downtime">;

/** What a checkpoint says of each of its devices. */
export function storedTimes(times: readonly DevicePhaseTimes[], devices: number): StoredTimes[] {
  return Array.from({ length: devices }, (_, number): StoredTimes => {
    const own = times.filter(({ device }) => device === number);
    const parts = own.flatMap(({ downtime }) => downtime);
    return {
      precopy: own.find(({ precopy }) => precopy !== null)?.precopy ?? null,
      // It was written while the device stood still.
      downtime: parts.length === 0 ? null : { seconds: null, parts },
    };
  });
}

/** The same in words. */
export function storedTimeLines(devices: readonly StoredTimes[]): string[] {
  return devices.flatMap(({ precopy, downtime }, number) => [
    ...(precopy === null ? [] : [precopyWords(`Device ${number}: `, precopy)]),
    ...(downtime === null
      ? []
      : [`Device ${number} stood still until its data was read: ${standstillParts(downtime)}.`]),
  ]);
}
