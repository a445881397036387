/**
 * VFIO_DEVICE_FEATURE, checked in the order in which the kernel does it.
 */

import {
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  vfioDeviceFeature,
  vfioDeviceFeatureMigDataSize,
  vfioDeviceFeatureMigration,
  vfioDeviceFeatureMigState,
} from "../uapi/mod.ts";
import type { StructCodec } from "../uapi/codec.ts";
import type { Device } from "./_device.ts";
import type { Install } from "./_open_file.ts";
import { refuse } from "./_refusal.ts";
import { type Argument, bytesToUser, fromUser } from "./_user.ts";

const GET = VFIO_DEVICE_FEATURE_GET;
const SET = VFIO_DEVICE_FEATURE_SET;
const PROBE = VFIO_DEVICE_FEATURE_PROBE;
/** Where the feature's own struct lies. */
const DATA = vfioDeviceFeature.size;

/** The VFIO_DEVICE_FEATURE ioctl of one device. */
export class Features {
  readonly #device: Device;
  readonly #install: Install;

  /** The features of a device; `install` makes fds. */
  constructor(device: Device, install: Install) {
    this.#device = device;
    this.#install = install;
  }

  /** The ioctl. */
  ioctl(arg: Argument): number {
    const { argsz, flags } = fromUser(vfioDeviceFeature, arg);
    if (argsz < DATA) refuse("EINVAL");
    if ((flags & ~(VFIO_DEVICE_FEATURE_MASK | GET | SET | PROBE)) !== 0) refuse("EINVAL");
    if ((flags & PROBE) === 0 && (flags & GET) !== 0 && (flags & SET) !== 0) refuse("EINVAL");
    const call = new Call(arg, flags, argsz - DATA);
    switch (flags & VFIO_DEVICE_FEATURE_MASK) {
      case VFIO_DEVICE_FEATURE_MIGRATION:
        return this.#migration(call);
      case VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE:
        return this.#deviceState(call);
      case VFIO_DEVICE_FEATURE_MIG_DATA_SIZE:
        return this.#dataSize(call);
      case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY:
      case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP:
      case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT:
        // vfio-pci's; nothing can be seen of it.
        if (this.#device.personality.mdev !== null) refuse("ENOTTY");
        call.check(SET, 0);
        return 0;
      default:
        return refuse("ENOTTY");
    }
  }

  #migration(call: Call): number {
    const v2 = this.#device.v2 ?? refuse("ENOTTY");
    if (!call.check(GET, vfioDeviceFeatureMigration.size)) return 0;
    call.answer(vfioDeviceFeatureMigration, { flags: BigInt(v2.flags) });
    return 0;
  }

  #deviceState(call: Call): number {
    const v2 = this.#device.v2 ?? refuse("ENOTTY");
    const codec = vfioDeviceFeatureMigState;
    if (!call.check(GET | SET, codec.size)) return 0;
    const { device_state } = call.payload(codec);
    if (call.is(GET)) {
      for (const { errno } of this.#device.faults.due("state-read")) refuse(errno);
      call.answer(codec, { device_state: v2.deviceState, data_fd: -1 });
      return 0;
    }
    let data_fd = -1;
    try {
      const file = v2.setState(device_state);
      if (file !== null) data_fd = this.#install(file);
    } finally {
      // Where it failed too; the state in it is then the one that was asked for.
      call.answer(codec, { device_state, data_fd });
    }
    return 0;
  }

  #dataSize(call: Call): number {
    const size = this.#device.v2?.dataSize ?? refuse("ENOTTY");
    if (!call.check(GET, vfioDeviceFeatureMigDataSize.size)) return 0;
    const unknown = this.#device.faults.due("size-read").length > 0;
    call.answer(vfioDeviceFeatureMigDataSize, { stop_copy_length: BigInt(unknown ? 0 : size) });
    return 0;
  }
}

/** One call, as far as its feature is not known yet. */
class Call {
  readonly #arg: Argument;
  readonly #flags: number;
  /** Bytes that the caller says it has for the feature's struct. */
  readonly #room: number;

  constructor(arg: Argument, flags: number, room: number) {
    this.#arg = arg;
    this.#flags = flags;
    this.#room = room;
  }

  /** Whether it is a GET, or a SET. */
  is(operation: number): boolean {
    return (this.#flags & operation) !== 0;
  }

  /** Whether the feature is to be done, and not just asked for (vfio_check_feature). */
  check(operations: number, size: number): boolean {
    if ((this.#flags & (GET | SET) & ~operations) !== 0) refuse("EINVAL");
    if (this.is(PROBE)) return false;
    if (!this.is(GET | SET)) refuse("EINVAL");
    if (this.#room < size) refuse("EINVAL");
    return true;
  }

  /** The feature's struct, as the caller sent it. */
  payload<T>(codec: StructCodec<T>): T {
    const arg = this.#arg;
    if (typeof arg === "number" || arg.length < DATA + codec.size) return refuse("EFAULT");
    return codec.unpack(arg, DATA);
  }

  /** Writes the feature's struct back. */
  answer<T>(codec: StructCodec<T>, value: T): void {
    bytesToUser(this.#arg, DATA, codec.pack(value));
  }
}
