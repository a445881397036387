/**
 * The guest driver's devices: made, set up and looked at through sysfs.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** v1, by how a device's data section is reached. */
export type V1Type = "trapped" | "mapped" | "partitioned";

/** v2, by what a device offers: stop-copy alone, P2P, pre-copy, both. */
export type V2Type = "v2" | "v2-p2p" | "v2-precopy" | "v2-full";

/** A kind of device. */
export type DeviceType = V1Type | V2Type;

/** All that speak v1. */
export const TYPES: readonly V1Type[] = ["trapped", "mapped", "partitioned"];

/** All that speak v2, where the kernel has it. */
export const V2_TYPES: readonly V2Type[] = ["v2", "v2-p2p", "v2-precopy", "v2-full"];

const SUPPORTED = "/sys/class/mdev_bus/vfiokit/mdev_supported_types";

/** Why this kernel's driver has no devices of a type; null where it has. */
export function lacks(type: DeviceType): string | null {
  if (existsSync(`${SUPPORTED}/vfiokit-${type}`)) return null;
  const preCopy = type === "v2-precopy" || type === "v2-full";
  return `this kernel's VFIO has no ${preCopy ? "pre-copy" : "v2 protocol"}`;
}

/** What can be set; see docs/lab.md. */
export interface Settings {
  /** Bytes of device state. */
  readonly size?: number;
  /** Most bytes of a transaction. */
  readonly chunk?: number;
  /** What its state is made from; each new device has another. */
  readonly seed?: number;
  /** Bytes a second that the running device changes. */
  readonly rate?: number;
  /** Faults on order. */
  readonly fault?: string;
  /** What is wrong with the driver, separated by commas. */
  readonly bug?: string;
  /** v2: what a read in PRE_COPY answers with nothing there. */
  readonly drained?: "ENOMSG" | "0";
  /** v2: whether data fds come with O_NONBLOCK. */
  readonly nonblock?: 0 | 1;
  /** v1: 0 leaves the reserved bits of device_state 0. */
  readonly reserved_bits?: 0 | 1;
  /** v2: least bytes of a page of the DMA log. */
  readonly log_page?: number;
}

/** A mediated device of the guest driver. */
export class GuestDevice {
  /** Its mdev type. */
  readonly type: DeviceType;
  /** The name to open it by. */
  readonly uuid: string = randomUUID();

  /** Makes a device. */
  constructor(type: DeviceType) {
    this.type = type;
    writeFileSync(`${SUPPORTED}/vfiokit-${type}/create`, this.uuid);
  }

  get #folder(): string {
    return `/sys/bus/mdev/devices/${this.uuid}`;
  }

  /** Sets what a case wants. */
  set(settings: Settings): void {
    for (const [name, value] of Object.entries(settings)) {
      // sysfs sees no write at all of an empty text.
      writeFileSync(`${this.#folder}/vfiokit/${name}`, `${value}\n`);
    }
  }

  /** The device_state that it has, or had when it was closed last. */
  get state(): number {
    const text = readFileSync(`${this.#folder}/vfiokit/device_state`, "utf8");
    return Number(text.replace("closed, was ", ""));
  }

  /** The file that tells its driver what to write and pin: `write|pin|unpin IOVA PAGES`. */
  get dmaFile(): string {
    return `${this.#folder}/vfiokit/dma`;
  }

  /** Whether somebody has it open. */
  get open(): boolean {
    return !readFileSync(`${this.#folder}/vfiokit/device_state`, "utf8").startsWith("closed");
  }

  /** Faults on order that no call has met yet, as `KIND:N:-ERRNO`. */
  get unmetFaults(): string[] {
    return readFileSync(`${this.#folder}/vfiokit/fault`, "utf8").split("\n")
      .filter((line) => line !== "" && !line.endsWith(" met"));
  }

  /** What was done to it against the protocol, in words. */
  get violations(): string[] {
    const [count, ...lines] = readFileSync(`${this.#folder}/vfiokit/violations`, "utf8")
      .trimEnd().split("\n");
    return count === "0" ? [] : lines;
  }

  /** Forgets the violations. */
  forgetViolations(): void {
    writeFileSync(`${this.#folder}/vfiokit/violations`, "0\n");
  }

  /** Takes it away. */
  remove(): void {
    writeFileSync(`${this.#folder}/remove`, "1\n");
  }
}

/** Waits for a device to be opened and brought to a state. */
export async function waitForState(device: GuestDevice, state: number): Promise<void> {
  for (let tries = 0; tries < 1200; tries++) {
    if (device.open && device.state === state) return;
    await sleep(50);
  }
  throw new Error(`Cannot wait any longer: device_state is ${device.state}`);
}

/**
 * Lends devices of these types with these settings, each with a state of its
 * own; whatever was done to them against the protocol fails the case, and so
 * does a fault that was ordered and met nothing.
 */
export async function withDevices(
  types: readonly DeviceType[],
  settings: Settings,
  use: (devices: readonly GuestDevice[]) => Promise<void>,
): Promise<void> {
  const devices = types.map((type) => new GuestDevice(type));
  try {
    for (const device of devices) device.set(settings);
    await use(devices);
    for (const device of devices) {
      assert.deepEqual(device.violations, []);
      assert.deepEqual(device.unmetFaults, []);
    }
  } finally {
    for (const device of devices) device.remove();
  }
}

/** Lends one device. */
export async function withDevice(
  type: DeviceType,
  settings: Settings,
  use: (device: GuestDevice) => Promise<void>,
): Promise<void> {
  await withDevices([type], settings, ([device]) => use(device!));
}

/** Lends two devices of one type. */
export async function withPair(
  type: DeviceType,
  settings: Settings,
  use: (first: GuestDevice, second: GuestDevice) => Promise<void>,
): Promise<void> {
  await withDevices([type, type], settings, ([first, second]) => use(first!, second!));
}
