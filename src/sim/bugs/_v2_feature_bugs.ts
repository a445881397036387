/**
 * Bugs of VFIO_DEVICE_FEATURE, and of what v2 devices report there.
 */

import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_MIGRATION_STOP_COPY,
  VFIO_PCI_CONFIG_REGION_INDEX,
  vfioDeviceFeature,
  vfioDeviceFeatureMigState,
} from "../../uapi/mod.ts";
import type { DeviceModel } from "../device/device_model.ts";
import { REGION_SHIFT } from "../device/region_info.ts";
import { refuse } from "../os/refusal.ts";
import { RUNNING, STOP, STOP_COPY } from "../v2/v2_states.ts";
import { override } from "./_override.ts";
import {
  type FeatureRequest,
  onDeviceFile,
  onFeature,
  onSaveFile,
  type Plant,
  v2Of,
  withU32,
} from "./_points.ts";

const KNOWN: number = VFIO_DEVICE_FEATURE_MASK | VFIO_DEVICE_FEATURE_GET |
  VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PROBE;
const LAST_FEATURE: number = VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2;
const ARGSZ_AT = 0;
const FLAGS_AT = 4;
const DATA_FD_AT: number = vfioDeviceFeature.size + vfioDeviceFeatureMigState.offsetOf("data_fd");
const UNKNOWN_FLAG = 1 << 8;
/** An estimate that is far off is off by such a factor. */
const SMALLER = 100;
const LARGER = 1000;

/** A PROBE of a feature fails with ENOTTY. */
const unprobed = (feature: number): Plant => (device) =>
  onFeature(
    device,
    (call) => call.probes && call.feature === feature ? refuse("ENOTTY") : call.clean(),
  );

/** Changes the size that MIG_DATA_SIZE reports. */
const dataSize = (change: (size: number) => number): Plant => (device) =>
  override(v2Of(device), "dataSize", (clean) => () => {
    const size = clean();
    return size === null ? null : change(size);
  });

/** Changes the MIGRATION flags. */
const flags = (change: (flags: number, device: DeviceModel) => number): Plant => (device) =>
  override(v2Of(device), "flags", (clean) => () => change(clean(), device));

/** Makes the clean call with an argsz of the whole argument if its own is too small. */
function withWholeArgsz(call: FeatureRequest, tooSmall: (argsz: number) => boolean): number {
  const argsz = call.view.getUint32(ARGSZ_AT, true);
  return tooSmall(argsz) ? withU32(call, ARGSZ_AT, call.bytes.length) : call.clean();
}

export const V2_FEATURE_BUGS = {
  "argsz-unchecked": (device) =>
    onFeature(device, (call) => withWholeArgsz(call, (argsz) => argsz < vfioDeviceFeature.size)),
  "flags-unchecked": (device) =>
    onFeature(device, (call) => {
      const given = call.view.getUint32(FLAGS_AT, true);
      return withU32(call, FLAGS_AT, given & KNOWN);
    }),
  "get-and-set": (device) =>
    onFeature(device, (call) => {
      if (!call.gets || !call.sets || call.probes) return call.clean();
      const given = call.view.getUint32(FLAGS_AT, true);
      return withU32(call, FLAGS_AT, given & ~VFIO_DEVICE_FEATURE_SET);
    }),
  "no-operation": (device) =>
    onFeature(device, (call) => {
      const { gets, sets, probes } = call;
      return gets || sets || probes || call.view.getUint32(ARGSZ_AT, true) < 8 ? call.clean() : 0;
    }),
  "unknown-feature": (device) =>
    onFeature(device, (call) => call.feature > LAST_FEATURE ? 0 : call.clean()),
  "payload-unchecked": (device) =>
    onFeature(device, (call) => withWholeArgsz(call, (argsz) => argsz >= vfioDeviceFeature.size)),
  "state-unprobed": unprobed(VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE),
  "flags-settable": (device) =>
    onFeature(device, (call) => {
      const { feature, sets, gets } = call;
      return feature === VFIO_DEVICE_FEATURE_MIGRATION && sets && !gets ? 0 : call.clean();
    }),
  "flags-unknown": flags((clean) => clean | UNKNOWN_FLAG),
  "flags-without-stop-copy": flags((clean) => clean & ~VFIO_MIGRATION_STOP_COPY),
  "flags-change": flags((clean, { deviceState }) =>
    deviceState === RUNNING ? clean : VFIO_MIGRATION_STOP_COPY
  ),
  "get-gives-fd": (device) =>
    onFeature(device, (call) => {
      const result = call.clean();
      const { feature, gets, probes } = call;
      if (feature === VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE && gets && !probes) {
        call.view.setInt32(DATA_FD_AT, 0, true);
      }
      return result;
    }),
  "opens-stopped": (device) =>
    override(device, "open", (clean) => () => {
      clean();
      v2Of(device).enter(STOP);
    }),
  "data-size-while-running": (device) =>
    onFeature(device, (call) => {
      const asks = call.feature === VFIO_DEVICE_FEATURE_MIG_DATA_SIZE && call.gets && !call.probes;
      return asks && device.deviceState !== RUNNING ? refuse("EINVAL") : call.clean();
    }),
  "precopy-info-v2-always": (device) =>
    onFeature(device, (call) => {
      const { feature, sets } = call;
      return feature === VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 && sets ? 0 : call.clean();
    }),
  "log-without-stop": unprobed(VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP),
  "config-unreadable": (device) =>
    onDeviceFile(device, (file) =>
      override(file, "pread", (clean) => (at, into) => {
        const region = Math.floor(at / 2 ** Number(REGION_SHIFT));
        const stopped = device.deviceState === STOP || device.deviceState === STOP_COPY;
        return region === VFIO_PCI_CONFIG_REGION_INDEX && stopped ? refuse("EIO") : clean(at, into);
      })),
  "data-size-zero": dataSize(() => 0),
  "data-size-small": dataSize((size) => Math.floor(size / SMALLER)),
  "data-size-huge": dataSize((size) => size * LARGER),
  "set-takes-no-fd": (device) =>
    onFeature(device, (call) => {
      const sets = call.feature === VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE && call.sets;
      const whole = call.bytes.length >= DATA_FD_AT + 4;
      return sets && whole && call.view.getInt32(DATA_FD_AT, true) >= 0
        ? refuse("EINVAL")
        : call.clean();
    }),
  "size-settable": (device) =>
    onFeature(device, (call) => {
      const { feature, sets, gets } = call;
      return feature === VFIO_DEVICE_FEATURE_MIG_DATA_SIZE && sets && !gets ? 0 : call.clean();
    }),
  "argsz-exact": (device) =>
    onFeature(device, (call) => {
      const { feature, view } = call;
      const ofState = feature === VFIO_DEVICE_FEATURE_MIGRATION ||
        feature === VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
      const most = DATA_FD_AT + 4;
      return ofState && view.getUint32(ARGSZ_AT, true) > most ? refuse("EINVAL") : call.clean();
    }),
  "probe-acts": (device) =>
    onFeature(device, (call) => {
      const { feature, sets, probes, bytes, view } = call;
      const acts = feature === VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE && sets && probes &&
        bytes.length >= DATA_FD_AT;
      if (acts) v2Of(device).setState(view.getUint32(vfioDeviceFeature.size, true));
      return call.clean();
    }),
  "state-busy": (device) => {
    let open = 0;
    onSaveFile(device, (file) => {
      override(file, "hold", (clean) => () => {
        open += 1;
        clean();
      });
      override(file, "drop", (clean) => () => {
        open -= 1;
        clean();
      });
    });
    override(v2Of(device), "readState", (clean) => () => open > 0 ? refuse("EBUSY") : clean());
  },
} as const satisfies Record<string, Plant>;
