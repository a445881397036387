/**
 * Devices of which each state that is asked for is seen from their driver.
 *
 * @module
 */

import { type OpenDevices, openDevices, type OpenOptions } from "../../../mod.ts";
import { libcKernel } from "../../../src/kernel/mod.ts";
import { tellingArcs } from "../../migration/_arcs.ts";
import type { GuestDevice } from "./device.ts";

const RUNNING_P2P = 5;
const PRE_COPY_P2P = 7;

/** A state that was asked for, and those that the drivers said they had just before. */
export interface Asked {
  /** The device's number. */
  readonly number: number;
  /** The state's name. */
  readonly state: string;
  /** The states of all devices. */
  readonly now: readonly number[];
}

/** Opens devices on this thread; `asked` grows by each state that one of them is asked for. */
export async function watched(
  guests: readonly GuestDevice[],
  asked: Asked[],
  options: OpenOptions = {},
): Promise<OpenDevices> {
  const fds: number[] = [];
  const kernel = tellingArcs(libcKernel(), (fd, state) => {
    asked.push({ number: fds.indexOf(fd), state, now: guests.map((guest) => guest.state) });
  });
  const devices = await openDevices(guests.map(({ uuid }) => uuid), { ...options, kernel });
  fds.push(...devices.map(({ description }) => description.fds.device));
  return devices;
}

/** Whether a state of v2 is one with P2P quiet. */
export function held(state: number): boolean {
  return state === RUNNING_P2P || state === PRE_COPY_P2P;
}
