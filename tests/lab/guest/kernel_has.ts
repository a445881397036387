/**
 * What the guest's kernel has of migration and dirty tracking, found by asking
 * it: the columns of the table of all kernels.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { DirtySession } from "../../../src/dirty/mod.ts";
import { isErrno } from "../../../src/kernel/mod.ts";
import { probe, UnsupportedError } from "../../../mod.ts";
import type { ProbeReport } from "../../../src/vfio/mod.ts";
import { GuestDevice, lacks, TYPES, V2_TYPES } from "./device.ts";

function yes(has: boolean): string {
  return has ? "yes" : "no";
}

/** Whether a device's log can be read: some kernels let it be started, and then do not report it. */
function logReport(uuid: string): string {
  try {
    using session = DirtySession.open(uuid, {
      tracker: "device",
      maps: [{ iova: 1n << 20n, size: 1n << 20n }],
    });
    session.tracker.start();
    return "yes";
  } catch (error) {
    if (isErrno(error, "EOPNOTSUPP") || error instanceof UnsupportedError) return "EOPNOTSUPP";
    throw error;
  }
}

/** Asks about a device of the driver's most capable type, of those that it has here. */
function ask(device: GuestDevice, report: ProbeReport): Record<string, string> {
  const flags = report.migrationFlags ?? [];
  const feature = (name: string): boolean =>
    report.features.some((one) => one.name === name && one.supported);
  const log = feature("DMA_LOGGING_START");
  return {
    "v2": yes(flags.includes("STOP_COPY")),
    "P2P": yes(flags.includes("P2P")),
    "pre-copy": yes(flags.includes("PRE_COPY")),
    "new initial data": yes(feature("MIG_PRECOPY_INFOv2")),
    "MIG_DATA_SIZE": yes(feature("MIG_DATA_SIZE")),
    "log": yes(log),
    "log REPORT": log ? logReport(device.uuid) : "no",
    "type1 dirty": yes(report.dirty.tracks === true),
  };
}

/** What it has, by name: `yes`, `no`, or the errno that says it. */
export function kernelHas(): Record<string, string> {
  const v1 = new GuestDevice(TYPES[0]!);
  const best = new GuestDevice(V2_TYPES.findLast((type) => lacks(type) === null) ?? TYPES[0]!);
  try {
    return {
      "v1": yes(probe(v1.uuid).protocol === "v1"),
      ...ask(best, probe(best.uuid, { via: "group" })),
      "cdevs": yes(existsSync("/dev/iommu") && existsSync("/dev/vfio/devices")),
    };
  } finally {
    for (const device of [v1, best]) device.remove();
  }
}
