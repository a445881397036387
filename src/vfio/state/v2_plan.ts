/**
 * The v2 state machine's table: the next hop from one state towards another,
 * given what the device supports (linux/vfio.h, enum vfio_device_mig_state).
 */

import {
  VFIO_DEVICE_STATE_ERROR as ERROR,
  VFIO_DEVICE_STATE_PRE_COPY as PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P as PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING as RESUMING,
  VFIO_DEVICE_STATE_RUNNING as RUNNING,
  VFIO_DEVICE_STATE_RUNNING_P2P as RUNNING_P2P,
  VFIO_DEVICE_STATE_STOP as STOP,
  VFIO_DEVICE_STATE_STOP_COPY as STOP_COPY,
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
} from "../../uapi/mod.ts";
import { migrationFlagNames } from "../device/feature.ts";

type Row = Readonly<Record<number, number>>;

/** TABLE[from][to]: the first hop; a step without an entry is refused. */
const TABLE: Readonly<Record<number, Row>> = {
  [STOP]: {
    [RUNNING]: RUNNING_P2P,
    [STOP_COPY]: STOP_COPY,
    [RESUMING]: RESUMING,
    [RUNNING_P2P]: RUNNING_P2P,
    [PRE_COPY]: RUNNING_P2P,
    [PRE_COPY_P2P]: RUNNING_P2P,
  },
  [RUNNING]: {
    [STOP]: RUNNING_P2P,
    [STOP_COPY]: RUNNING_P2P,
    [RESUMING]: RUNNING_P2P,
    [RUNNING_P2P]: RUNNING_P2P,
    [PRE_COPY]: PRE_COPY,
    [PRE_COPY_P2P]: RUNNING_P2P,
  },
  [STOP_COPY]: {
    [STOP]: STOP,
    [RUNNING]: STOP,
    [RESUMING]: STOP,
    [RUNNING_P2P]: STOP,
  },
  [RESUMING]: {
    [STOP]: STOP,
    [RUNNING]: STOP,
    [STOP_COPY]: STOP,
    [RUNNING_P2P]: STOP,
    [PRE_COPY]: STOP,
    [PRE_COPY_P2P]: STOP,
  },
  [RUNNING_P2P]: {
    [STOP]: STOP,
    [RUNNING]: RUNNING,
    [STOP_COPY]: STOP,
    [RESUMING]: STOP,
    [PRE_COPY]: RUNNING,
    [PRE_COPY_P2P]: PRE_COPY_P2P,
  },
  [PRE_COPY]: {
    [STOP]: RUNNING,
    [RUNNING]: RUNNING,
    [STOP_COPY]: PRE_COPY_P2P,
    [RESUMING]: RUNNING,
    [RUNNING_P2P]: RUNNING,
    [PRE_COPY_P2P]: PRE_COPY_P2P,
  },
  [PRE_COPY_P2P]: {
    [STOP]: RUNNING_P2P,
    [RUNNING]: RUNNING_P2P,
    [STOP_COPY]: STOP_COPY,
    [RESUMING]: RUNNING_P2P,
    [RUNNING_P2P]: RUNNING_P2P,
    [PRE_COPY]: PRE_COPY,
  },
  [ERROR]: {},
};

/** The VFIO_MIGRATION_* flags that a state needs besides STOP_COPY. */
export function flagsFor(state: number): number {
  switch (state) {
    case RUNNING_P2P:
      return VFIO_MIGRATION_P2P;
    case PRE_COPY:
      return VFIO_MIGRATION_PRE_COPY;
    case PRE_COPY_P2P:
      return VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY;
    default:
      return 0;
  }
}

/** Whether a device with these VFIO_MIGRATION_* flags has a state. */
export function hasState(state: number, flags: number): boolean {
  return Object.hasOwn(TABLE, state) && lacking(state, flags) === 0;
}

/** The VFIO_MIGRATION_* flags, by name, that a device lacks for a state. */
export function lacksFor(state: number, flags: number): string[] {
  return migrationFlagNames(lacking(state, flags)).map((name) => `VFIO_MIGRATION_${name}`);
}

function lacking(state: number, flags: number): number {
  return flagsFor(state) & ~flags;
}

/**
 * The states on the way from one to another, ending with `to`, one per hop. Empty if the device is
 * there already; null if no arc leads there.
 */
export function planPath(from: number, to: number, flags: number): number[] | null {
  if (!hasState(from, flags) || !hasState(to, flags) || to === ERROR) return null;
  const path: number[] = [];
  let at = from;
  while (at !== to) {
    let next = TABLE[at]![to];
    // A state that the device lacks is passed through, as in the kernel.
    while (next !== undefined && !hasState(next, flags)) next = TABLE[next]![to];
    if (next === undefined) return null;
    path.push(next);
    at = next;
  }
  return path;
}
