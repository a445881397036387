/**
 * DEVICE_FEATURE: the ioctl VFIO_DEVICE_FEATURE, whose pointers are ranges and a bitmap inside the
 * message.
 */

import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Mapping,
  PROT_READ,
  PROT_WRITE,
} from "../../kernel/kernel.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
  vfioDeviceFeature,
  vfioDeviceFeatureDmaLoggingControl,
  vfioDeviceFeatureDmaLoggingRange,
  vfioDeviceFeatureDmaLoggingReport,
  vfioDeviceFeatureMigration,
  vfioDeviceFeatureMigState,
} from "../../uapi/mod.ts";
import {
  DMA_LOGGING_STOP,
  getFeature,
  MIG_DEVICE_STATE,
  triggerFeature,
} from "../../vfio/device/feature.ts";
import { PROTOCOL_FEATURES } from "../../vfio_user/wire/features.ts";
import {
  vfioUserDmaLoggingControl,
  vfioUserDmaLoggingReport,
} from "../../vfio_user/wire/structs.ts";
import type { OpenDevice } from "./open_device.ts";
import { refuse } from "./refuse.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** argsz and flags. */
const HEAD = vfioDeviceFeature.size;
/** The most bytes of a feature without ranges or a bitmap; the largest has 16. */
const PLAIN_MOST = 4096;
const RANGE = vfioDeviceFeatureDmaLoggingRange.size;

/** The features, as one client sees them. */
export class Features {
  readonly #device: OpenDevice;
  /** Whether the client speaks vfiokit's extension: all features, and P2P. */
  readonly #extended: boolean;
  readonly #mostData: number;

  constructor(device: OpenDevice, extended: boolean, mostData: number) {
    this.#device = device;
    this.#extended = extended;
    this.#mostData = mostData;
  }

  /** The request; returns the reply's payload. */
  call(payload: Bytes): Bytes {
    if (payload.length < HEAD) refuse("EINVAL");
    const view = new DataView(payload.buffer, payload.byteOffset, HEAD);
    const [argsz, flags] = [view.getUint32(0, true), view.getUint32(4, true)];
    if (argsz < HEAD) refuse("EINVAL");
    const feature = flags & VFIO_DEVICE_FEATURE_MASK;
    if (!this.#extended && PROTOCOL_FEATURES[feature] === undefined) refuse("EINVAL");
    if ((flags & VFIO_DEVICE_FEATURE_PROBE) === 0) {
      if (feature === VFIO_DEVICE_FEATURE_DMA_LOGGING_START) return this.#start(payload, flags);
      if (feature === VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT) {
        return this.#report(payload, argsz, flags);
      }
    }
    return this.#plain(payload, argsz, flags);
  }

  /** A feature whose struct has no pointers. */
  #plain(payload: Bytes, argsz: number, flags: number): Bytes {
    if (payload.length > PLAIN_MOST) refuse("EINVAL");
    const argument = new Uint8Array(Math.min(Math.max(argsz, payload.length), PLAIN_MOST));
    argument.set(payload);
    new DataView(argument.buffer).setUint32(0, argument.length, true);
    const feature = flags & VFIO_DEVICE_FEATURE_MASK;
    const probed = (flags & VFIO_DEVICE_FEATURE_PROBE) !== 0;
    const set = (flags & VFIO_DEVICE_FEATURE_SET) !== 0;
    const ofState = feature === VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
    try {
      this.#device.ioctl(VFIO_DEVICE_FEATURE, argument);
    } catch (error) {
      // The device may have left its state nevertheless, such as for ERROR.
      if (ofState && set) this.#device.data.check(() => this.#state());
      throw error;
    }
    if (probed) return argument.subarray(0, HEAD);
    if (feature === VFIO_DEVICE_FEATURE_MIGRATION) this.#reduceFlags(argument);
    if (ofState) this.#keepData(argument, set);
    if (feature === VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP) this.#device.logOwner = null;
    return argument;
  }

  /** The state that the device is in. */
  #state(): number {
    return getFeature(this.#device.vfio, MIG_DEVICE_STATE, vfioDeviceFeatureMigState).device_state;
  }

  /** The protocol has neither the states of P2P, nor flags that it does not know. */
  #reduceFlags(argument: Bytes): void {
    if (this.#extended) return;
    const { flags } = vfioDeviceFeatureMigration.unpack(argument, HEAD);
    const known = BigInt(VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_PRE_COPY);
    vfioDeviceFeatureMigration.pack({ flags: flags & known }, argument, HEAD);
  }

  /** Keeps a data fd here. The client sees 0 for one that is new, else -1. */
  #keepData(argument: Bytes, set: boolean): void {
    const { device_state, data_fd } = vfioDeviceFeatureMigState.unpack(argument, HEAD);
    if (set) this.#device.data.entered(device_state, data_fd);
    else this.#device.data.isIn(device_state);
    const shown = set && data_fd >= 0 && this.#extended ? 0 : -1;
    vfioDeviceFeatureMigState.pack({ device_state, data_fd: shown }, argument, HEAD);
  }

  /** DMA_LOGGING_START: the ranges follow the struct. */
  #start(payload: Bytes, flags: number): Bytes {
    const head = HEAD + vfioUserDmaLoggingControl.size;
    if (payload.length < head) refuse("EINVAL");
    const control = vfioUserDmaLoggingControl.unpack(payload, HEAD);
    const { page_size, num_ranges } = control;
    const ranges = payload.subarray(head);
    if (ranges.length !== num_ranges * RANGE) refuse("EINVAL");
    using memory = this.#memory(Math.max(ranges.length, RANGE));
    memory.write(0, ranges);
    const codec = vfioDeviceFeatureDmaLoggingControl;
    const argument = featureArgument(flags, codec.size);
    codec.pack({ page_size, num_ranges, ranges: memory.address }, argument, HEAD);
    this.#device.ioctl(VFIO_DEVICE_FEATURE, argument);
    this.#device.logOwner = this;
    const answer = featureArgument(flags, vfioUserDmaLoggingControl.size);
    const used = codec.unpack(argument, HEAD).page_size;
    vfioUserDmaLoggingControl.pack({ ...control, page_size: used }, answer, HEAD);
    return answer;
  }

  /** DMA_LOGGING_REPORT: the bitmap follows the struct in the reply. */
  #report(payload: Bytes, argsz: number, flags: number): Bytes {
    const head = HEAD + vfioUserDmaLoggingReport.size;
    if (payload.length < head) refuse("EINVAL");
    const { iova, length, page_size } = vfioUserDmaLoggingReport.unpack(payload, HEAD);
    if (page_size === 0n || (page_size & (page_size - 1n)) !== 0n) refuse("EINVAL");
    const pages = (length + page_size - 1n) / page_size;
    const size = (pages + 63n) / 64n * 8n;
    if (size > BigInt(this.#mostData)) refuse("E2BIG");
    const bytes = Number(size);
    if (argsz < head + bytes) refuse("EINVAL");
    using memory = this.#memory(Math.max(bytes, 8));
    const codec = vfioDeviceFeatureDmaLoggingReport;
    const argument = featureArgument(flags, codec.size);
    codec.pack({ iova, length, page_size, bitmap: memory.address }, argument, HEAD);
    this.#device.ioctl(VFIO_DEVICE_FEATURE, argument);
    const answer = featureArgument(flags, vfioUserDmaLoggingReport.size + bytes);
    vfioUserDmaLoggingReport.pack({ iova, length, page_size }, answer, HEAD);
    memory.read(0, answer.subarray(head));
    return answer;
  }

  /** The client is gone: nothing reads the log that it left on. */
  close(): void {
    if (this.#device.logOwner !== this) return;
    this.#device.logOwner = null;
    triggerFeature(this.#device.vfio, DMA_LOGGING_STOP);
  }

  #memory(length: number): Mapping {
    return this.#device.kernel.mmap(length, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
  }
}

/** argsz, flags, and room for a feature's own struct. */
function featureArgument(flags: number, size: number): Bytes {
  const argument = new Uint8Array(HEAD + size);
  vfioDeviceFeature.pack({ argsz: argument.length, flags }, argument);
  return argument;
}
