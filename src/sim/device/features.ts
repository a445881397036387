/**
 * VFIO_DEVICE_FEATURE: the features that a simulated device has.
 */

import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_MIGRATION_STOP_COPY,
  vfioDeviceFeatureMigDataSize,
  vfioDeviceFeatureMigration,
  vfioDeviceFeatureMigState,
} from "../../uapi/mod.ts";
import type { DeviceModel } from "./device_model.ts";
import { FeatureCall } from "./feature_call.ts";
import { LoggingFeature } from "./logging_feature.ts";
import type { Install } from "../os/open_file.ts";
import { refuse } from "../os/refusal.ts";
import type { Argument } from "../os/user.ts";
import type { UserMemory } from "../os/user_memory.ts";

const GET = VFIO_DEVICE_FEATURE_GET;
const SET = VFIO_DEVICE_FEATURE_SET;

/** A VFIO_MIGRATION_* flag that no header defines. */
const ODD_FLAG = 1 << 8;

/** The VFIO_DEVICE_FEATURE ioctl of one device. */
export class Features {
  readonly #device: DeviceModel;
  readonly #install: Install;
  readonly #logging: LoggingFeature | null;

  /** `install` installs fds; structs point into `memory`. */
  constructor(device: DeviceModel, install: Install, memory: UserMemory) {
    this.#device = device;
    this.#install = install;
    this.#logging = device.log === null ? null : new LoggingFeature(device, device.log, memory);
  }

  /** The ioctl. */
  ioctl(arg: Argument): number {
    const call = new FeatureCall(arg);
    switch (call.feature) {
      case VFIO_DEVICE_FEATURE_MIGRATION:
        return this.#migration(call);
      case VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE:
        return this.#deviceState(call);
      case VFIO_DEVICE_FEATURE_MIG_DATA_SIZE:
        return this.#dataSize(call);
      case VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2:
        return this.#precopyInfoV2(call);
      case VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
      case VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP:
      case VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT:
        return this.#logging?.call(call) ?? refuse("ENOTTY");
      case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY:
      case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP:
      case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT:
        // vfio-pci has these; they have no visible effect here.
        if (this.#device.personality.mdev !== null) refuse("ENOTTY");
        call.check(SET, 0);
        return 0;
      default:
        return refuse("ENOTTY");
    }
  }

  #migration(call: FeatureCall): number {
    const v2 = this.#device.v2 ?? refuse("ENOTTY");
    if (!call.check(GET, vfioDeviceFeatureMigration.size)) return 0;
    call.answer(vfioDeviceFeatureMigration, { flags: BigInt(this.#flags(v2.flags())) });
    return 0;
  }

  /** The flags that the driver reports, including faults. */
  #flags(flags: number): number {
    const { faults } = this.#device;
    const odd = faults.standing("odd-flags") === undefined ? flags : flags | ODD_FLAG;
    return faults.standing("no-stop-copy") === undefined ? odd : odd & ~VFIO_MIGRATION_STOP_COPY;
  }

  #deviceState(call: FeatureCall): number {
    const v2 = this.#device.v2 ?? refuse("ENOTTY");
    const codec = vfioDeviceFeatureMigState;
    if (!call.check(GET | SET, codec.size)) return 0;
    const { device_state } = call.payload(codec);
    if (call.is(GET)) {
      for (const { errno } of this.#device.faults.due("state-read")) refuse(errno);
      call.answer(codec, { device_state: v2.readState(), data_fd: -1 });
      return 0;
    }
    let data_fd = -1;
    try {
      const file = v2.setState(device_state);
      if (file !== null) data_fd = this.#install(file);
    } finally {
      // Written back even if the step failed, with the state that the caller asked for.
      call.answer(codec, { device_state, data_fd });
    }
    return 0;
  }

  #precopyInfoV2(call: FeatureCall): number {
    const v2 = this.#device.v2;
    if (v2 === null || !v2.hasPrecopyInfoV2) return refuse("ENOTTY");
    if (!v2.hasPreCopy) refuse("EINVAL");
    if (call.check(SET, 0)) v2.precopyInfoV2 = true;
    return 0;
  }

  #dataSize(call: FeatureCall): number {
    const size = this.#device.v2?.dataSize() ?? refuse("ENOTTY");
    if (!call.check(GET, vfioDeviceFeatureMigDataSize.size)) return 0;
    const { faults } = this.#device;
    const unknown = faults.due("size-read").length > 0;
    const said = faults.standing("data-size-small") === undefined ? size : Math.floor(size / 100);
    call.answer(vfioDeviceFeatureMigDataSize, { stop_copy_length: BigInt(unknown ? 0 : said) });
    return 0;
  }
}
