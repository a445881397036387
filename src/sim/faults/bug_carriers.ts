/**
 * Which simulated devices can have which bugs.
 */

import { VFIO_MIGRATION_P2P, VFIO_MIGRATION_PRE_COPY } from "../../uapi/constants.ts";
import { PERSONALITIES, type PersonalityName } from "../personalities.ts";
import { V2_DRIVERS } from "../v2_drivers.ts";
import { type BugName, BUGS } from "./bug_table.ts";

/** What decides whether a device can have a bug. */
export interface BugCarrier {
  readonly personality: PersonalityName;
  /** How often new initial data appears; null before Linux 7.1. */
  readonly reinit: number | null;
}

/** Whether a device can have a bug. A bug that could never show is a mistake. */
export function canHaveBug({ personality, reinit }: BugCarrier, name: BugName): boolean {
  const { to } = BUGS[name];
  const { protocol, dataSection } = PERSONALITIES[personality];
  const driver = V2_DRIVERS[personality];
  if (driver === undefined) {
    // ice and vGPUs deviate from the protocol: they have their own rules.
    const plain = protocol === "v1" && personality !== "ice" && personality !== "nvidia-vgpu";
    return plain &&
      (to === "any" || to === "v1" || (to === "v1-mapped" && dataSection !== "trapped") ||
        (to === "v1-mapped-start" && dataSection === "mapped"));
  }
  const p2p = (driver.flags & VFIO_MIGRATION_P2P) !== 0;
  const precopy = (driver.flags & VFIO_MIGRATION_PRE_COPY) !== 0;
  switch (to) {
    case "any":
    case "v2":
      return true;
    case "v1":
    case "v1-mapped":
    case "v1-mapped-start":
      return false;
    case "v2-p2p":
      return p2p;
    case "v2-precopy":
      return precopy;
    case "v2-precopy-images":
      return precopy && driver.precopy === "images";
    case "v2-precopy-p2p":
      return p2p && precopy;
    case "v2-without-precopy":
      return !precopy;
    case "v2-incomplete":
      return !p2p || !precopy;
    case "v2-drained":
      return precopy && driver.drained !== null;
    case "v2-poll":
      return driver.polls;
    case "v2-reinit":
      return precopy && (reinit ?? 0) > 0;
    case "v2-data-size":
      return driver.dataSize;
    case "v2-log":
      return driver.log !== null;
  }
}

/** The bugs that a device can have. */
export function bugsOf(carrier: BugCarrier): readonly BugName[] {
  return (Object.keys(BUGS) as BugName[]).filter((name) => canHaveBug(carrier, name));
}
