/**
 * Bugs of the register device_state of a v1 device.
 */

import { VFIO_DEVICE_STATE_MASK } from "../../uapi/constants.ts";
import type { DeviceModel } from "../device/device_model.ts";
import { refuse } from "../os/refusal.ts";
import { ERROR, PRE_COPY, RESUMING, RUNNING, STOP, STOP_AND_COPY } from "../v1/v1_states.ts";
import type { V1Region } from "../v1/v1_region.ts";
import { override } from "./_override.ts";
import { type Plant, refusalOf, regionOf } from "./_points.ts";

/** Refuses a step between two states. */
const refuseStep = (
  from: number,
  to: number,
  unless: (region: V1Region) => boolean = () => false,
): Plant =>
(device) => {
  const region = regionOf(device);
  override(
    region,
    "allows",
    (clean) => (now, target) =>
      clean(now, target) && (now !== from || target !== to || unless(region)),
  );
};

/** Takes a value that the header forbids; the next step may lead anywhere. */
const acceptState = (state: number): Plant => (device) =>
  override(
    regionOf(device),
    "allows",
    (clean) => (now, target) => target === state || now === state || clean(now, target),
  );

/** Whether there is nothing to read. */
const drained = ({ data }: V1Region): boolean => data.readPending() === 0;

/** Changes VFIO_DEVICE_RESET of a device that does not run. */
const resetUnlessRunning = (change: (device: DeviceModel) => void): Plant => (device) =>
  override(device, "reset", (clean) => () => device.running ? clean() : change(device));

export const V1_STATE_BUGS = {
  "starts-stopped": (device) => {
    const region = regionOf(device);
    override(device, "open", (clean) => () => {
      clean();
      region.enter((region.deviceState & ~VFIO_DEVICE_STATE_MASK) >>> 0);
    });
  },
  "reserved-lost": (device) =>
    override(
      regionOf(device),
      "writeState",
      (clean) => (value) => clean(value & VFIO_DEVICE_STATE_MASK),
    ),
  "accepts-101": acceptState(RESUMING | RUNNING),
  "accepts-111": acceptState(RESUMING | PRE_COPY),
  "refused-write-stops": (device) => {
    const region = regionOf(device);
    override(region, "writeState", (clean) => (value) => {
      const errno = refusalOf(() => clean(value));
      if (errno === null) return;
      region.enter((region.deviceState & ~VFIO_DEVICE_STATE_MASK | STOP) >>> 0);
      refuse(errno);
    });
  },
  "error-written": (device) =>
    override(
      regionOf(device),
      "allows",
      (clean) => (now, target) => (now === ERROR && target === RUNNING) || clean(now, target),
    ),
  "precopy-refused": refuseStep(RUNNING, PRE_COPY),
  "precopy-kept": refuseStep(PRE_COPY, RUNNING, drained),
  "precopy-to-end": refuseStep(PRE_COPY, STOP_AND_COPY, drained),
  "register-lags": (device) => {
    const region = regionOf(device);
    let old: number | null = null;
    override(region, "writeState", (clean) => (value) => {
      const before = region.deviceState;
      clean(value);
      old = before;
    });
    override(region, "readRegister", (clean) => (register) => {
      if (register !== "device_state" || old === null) return clean(register);
      const answer = old;
      old = null;
      return answer;
    });
  },
  "only-from-precopy": refuseStep(RUNNING, STOP_AND_COPY),
  "stop-refused": refuseStep(RUNNING, STOP),
  "v1-reset-ignored": resetUnlessRunning(() => {}),
  "v1-reset-busy": resetUnlessRunning(() => refuse("EBUSY")),
} as const satisfies Record<string, Plant>;
