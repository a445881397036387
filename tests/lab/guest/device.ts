/**
 * The guest driver's devices: made, set up and looked at through sysfs.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

/** How a device's data section is reached. */
export type DeviceType = "trapped" | "mapped" | "partitioned";

/** All of them. */
export const TYPES: readonly DeviceType[] = ["trapped", "mapped", "partitioned"];

/** What can be set; see docs/lab.md. */
export interface Settings {
  /** Bytes of device state. */
  readonly size?: number;
  /** Most bytes of a transaction. */
  readonly chunk?: number;
  /** Bytes a second that the running device changes. */
  readonly rate?: number;
  /** Faults on order. */
  readonly fault?: string;
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
    const types = "/sys/class/mdev_bus/vfiokit/mdev_supported_types";
    writeFileSync(`${types}/vfiokit-${type}/create`, this.uuid);
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

/**
 * Lends two devices of a type with these settings, each with a state of its
 * own; whatever was done to them against the protocol fails the case.
 */
export async function withPair(
  type: DeviceType,
  settings: Settings,
  use: (first: GuestDevice, second: GuestDevice) => Promise<void>,
): Promise<void> {
  const pair = [new GuestDevice(type), new GuestDevice(type)] as const;
  try {
    for (const device of pair) device.set(settings);
    await use(...pair);
    for (const device of pair) assert.deepEqual(device.violations, []);
  } finally {
    for (const device of pair) device.remove();
  }
}
