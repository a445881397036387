/**
 * Bugs of VFIO_DEVICE_RESET, and of ERROR, of a v2 device.
 */

import type { DeviceModel } from "../device/device_model.ts";
import { refuse } from "../os/refusal.ts";
import { ERROR, RESUMING, RUNNING, STOP, STOP_COPY } from "../v2/v2_states.ts";
import { override } from "./_override.ts";
import { onSetState, outlives, type Plant, v2Of } from "./_points.ts";

/** Changes VFIO_DEVICE_RESET in one state. */
const resetIn = (state: number, change: (device: DeviceModel) => void): Plant => (device) =>
  override(
    device,
    "reset",
    (clean) => () => device.deviceState === state ? change(device) : clean(),
  );

export const V2_RESET_BUGS = {
  "reset-keeps-resuming": resetIn(RESUMING, () => {}),
  "reset-stops": (device) =>
    override(device, "reset", (clean) => () => {
      clean();
      v2Of(device).enter(STOP);
    }),
  "reset-busy": resetIn(STOP_COPY, () => refuse("EBUSY")),
  "reset-keeps-fd": (device) =>
    outlives(device, "reset", (into) => {
      into.fill(0);
      return into.length;
    }),
  "reset-blocks-saves": (device) => {
    let blocked = false;
    override(device, "reset", (clean) => () => {
      blocked ||= device.deviceState === STOP_COPY;
      clean();
    });
    override(
      v2Of(device),
      "openSave",
      (clean) => (stopped) => blocked ? refuse("EBUSY") : clean(stopped),
    );
  },
  "error-left": (device) => {
    const v2 = v2Of(device);
    onSetState(device, (from, target, clean) => {
      if (from !== ERROR || target !== RUNNING) return clean();
      v2.enter(RUNNING);
      return null;
    });
  },
  "reset-keeps-error": resetIn(ERROR, () => {}),
  "reset-while-running": resetIn(RUNNING, () => refuse("EBUSY")),
} as const satisfies Record<string, Plant>;
