/**
 * The points of a simulated device that bugs change.
 */

import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_MIG_GET_PRECOPY_INFO,
  type VfioPrecopyInfo,
  vfioPrecopyInfo,
} from "../../uapi/mod.ts";
import type { ErrnoName } from "../../kernel/errno_names.ts";
import type { DeviceModel } from "../device/device_model.ts";
import type { Bytes } from "../os/bytes.ts";
import type { Install, OpenFile } from "../os/open_file.ts";
import { Refusal, refuse } from "../os/refusal.ts";
import type { Argument } from "../os/user.ts";
import { V1Region } from "../v1/v1_region.ts";
import type { ResumeFile } from "../v2/v2_resume_file.ts";
import type { SaveFile } from "../v2/v2_save_file.ts";
import type { V2Migration } from "../v2/v2_migration.ts";
import { override } from "./_override.ts";

/** Gives a device a bug. */
export type Plant = (device: DeviceModel) => void;

/** The v2 migration of a device that has one. */
export function v2Of({ name, v2 }: DeviceModel): V2Migration {
  if (v2 === null) throw new TypeError(`Cannot give ${name} a bug of v2: it has none`);
  return v2;
}

/** The v1 migration region of a device that follows the protocol. */
export function regionOf({ name, migration }: DeviceModel): V1Region {
  if (migration instanceof V1Region) return migration;
  throw new TypeError(`Cannot give ${name} a bug of v1: it has another migration region`);
}

/** The errno that a call is refused with; null if it succeeds. */
export function refusalOf(call: () => unknown): ErrnoName | null {
  try {
    call();
    return null;
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

/** Runs a call; returns `otherwise` if it is refused. */
export function tolerated<T>(call: () => T, otherwise: T): T {
  let result = otherwise;
  refusalOf(() => result = call());
  return result;
}

/** Changes each save fd; `stopped`: it is opened in STOP_COPY. */
export function onSaveFile(
  device: DeviceModel,
  change: (file: SaveFile, stopped: boolean) => void,
): void {
  override(v2Of(device), "openSave", (clean) => (stopped) => {
    const file = clean(stopped);
    change(file, stopped);
    return file;
  });
}

/** Whether a reset or the close of a device is under way, whenever it is asked later. */
export function during(device: DeviceModel, call: "reset" | "close"): () => boolean {
  let underWay = false;
  override(device, call, (clean) => () => {
    underWay = true;
    clean();
    underWay = false;
  });
  return () => underWay;
}

/** Lets each save fd outlive a reset or the close of its device; `read` is what it reads then. */
export function outlives(
  device: DeviceModel,
  call: "reset" | "close",
  read: (into: Bytes) => number,
): void {
  const ending = during(device, call);
  onSaveFile(device, (file) => {
    let survives = false;
    override(file, "disable", (clean) => () => {
      survives ||= ending();
      clean();
    });
    override(file, "read", (clean) => (into) => survives ? read(into) : clean(into));
  });
}

/** Changes each resume fd. */
export function onResumeFile(device: DeviceModel, change: (file: ResumeFile) => void): void {
  override(v2Of(device), "openResume", (clean) => () => {
    const file = clean();
    change(file);
    return file;
  });
}

/** Changes each file of the device itself. */
export function onDeviceFile(
  device: DeviceModel,
  change: (file: OpenFile, install: Install) => void,
): void {
  override(device, "fileMade", (clean) => (file, install) => {
    clean(file, install);
    change(file, install);
  });
}

/** An ioctl of the device: its argument as memory, and the clean way. */
export interface DeviceCall {
  readonly bytes: Bytes;
  readonly view: DataView;
  /** Answers as the clean driver does. */
  readonly clean: () => number;
}

/** Changes an ioctl of the device. A call whose argument is no memory stays as it is. */
export function onDeviceIoctl(
  device: DeviceModel,
  wanted: number,
  change: (call: DeviceCall) => number,
): void {
  onDeviceFile(
    device,
    (file) =>
      override(file, "ioctl", (clean) => (request: number, arg: Argument) => {
        if (request !== wanted || typeof arg === "number" || arg.length < 8) {
          return clean(request, arg);
        }
        return change({
          bytes: arg,
          view: new DataView(arg.buffer, arg.byteOffset, arg.byteLength),
          clean: () => clean(request, arg),
        });
      }),
  );
}

/** A call of VFIO_DEVICE_FEATURE. */
export interface FeatureRequest extends DeviceCall {
  /** VFIO_DEVICE_FEATURE_*. */
  readonly feature: number;
  readonly gets: boolean;
  readonly sets: boolean;
  readonly probes: boolean;
}

/** Changes VFIO_DEVICE_FEATURE. */
export function onFeature(device: DeviceModel, change: (call: FeatureRequest) => number): void {
  onDeviceIoctl(device, VFIO_DEVICE_FEATURE, (call) => {
    const flags = call.view.getUint32(4, true);
    return change({
      ...call,
      feature: flags & VFIO_DEVICE_FEATURE_MASK,
      gets: (flags & VFIO_DEVICE_FEATURE_GET) !== 0,
      sets: (flags & VFIO_DEVICE_FEATURE_SET) !== 0,
      probes: (flags & VFIO_DEVICE_FEATURE_PROBE) !== 0,
    });
  });
}

/** Makes the clean call with another u32 at an offset of its argument. */
export function withU32({ view, clean }: DeviceCall, at: number, value: number): number {
  const before = view.getUint32(at, true);
  view.setUint32(at, value, true);
  try {
    return clean();
  } finally {
    view.setUint32(at, before, true);
  }
}

/** Changes what an arc of the v2 state machine does; `clean` takes it. */
export function onArc(
  device: DeviceModel,
  change: (
    from: number,
    to: number,
    clean: () => ReturnType<V2Migration["takeArc"]>,
  ) => ReturnType<V2Migration["takeArc"]>,
): void {
  const v2 = v2Of(device);
  override(v2, "takeArc", (clean) => (to) => change(v2.deviceState, to, () => clean(to)));
}

/** Refuses arcs. */
export function refuseArc(wrong: (from: number, to: number) => boolean): Plant {
  return (device) =>
    onArc(device, (from, to, clean) => wrong(from, to) ? refuse("EINVAL") : clean());
}

/** Changes a SET of the state; `clean` goes there. */
export function onSetState(
  device: DeviceModel,
  change: (
    from: number,
    target: number,
    clean: () => ReturnType<V2Migration["setState"]>,
  ) => ReturnType<V2Migration["setState"]>,
): void {
  const v2 = v2Of(device);
  override(
    v2,
    "setState",
    (clean) => (target) => change(v2.deviceState, target, () => clean(target)),
  );
}

/** Changes the answers of VFIO_MIG_GET_PRECOPY_INFO of each save fd; `change` is made per fd. */
export function onPrecopyInfo(
  device: DeviceModel,
  make: () => (info: VfioPrecopyInfo) => Partial<VfioPrecopyInfo>,
): void {
  onSaveFile(device, (file) => {
    const change = make();
    override(file, "ioctl", (clean) => (request, arg) => {
      const result = clean(request, arg);
      if (request !== VFIO_MIG_GET_PRECOPY_INFO || typeof arg === "number") return result;
      const info = vfioPrecopyInfo.unpack(arg);
      vfioPrecopyInfo.pack({ ...info, ...change(info) }, arg);
      return result;
    });
  });
}
