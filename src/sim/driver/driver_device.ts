/**
 * A simulated device as its migration driver sees it.
 */

import type { FaultPlan } from "../faults/fault_plan.ts";
import type { Personality } from "../personalities.ts";
import type { DeviceState } from "../state/device_state.ts";

/** The device that a driver migrates. */
export interface DriverDevice {
  /** Its name on its bus. */
  readonly name: string;
  /** What kind of device it is. */
  readonly personality: Personality;
  /** Its state. */
  readonly state: DeviceState;
  /** Its faults. */
  readonly faults: FaultPlan;
  /** Fails with ENODEV once the device is gone. */
  checkPresent(): void;
  /** Applies the time since the last call to everything that the device does by itself. */
  elapse(): void;
  /** Records how the user broke the protocol. */
  violate(how: string): void;
  /** The device is gone: this call and all later ones fail with ENODEV. */
  lose(): never;
}
