/**
 * The ioctl VFIO_DEVICE_FEATURE as a message. What the kernel takes by address, ranges and a
 * bitmap, is inside the message.
 */

import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_STOP_COPY,
  vfioDeviceFeature,
  vfioDeviceFeatureDmaLoggingControl,
  vfioDeviceFeatureDmaLoggingRange,
  vfioDeviceFeatureDmaLoggingReport,
  vfioDeviceFeatureMigration,
  vfioDeviceFeatureMigState,
} from "../../uapi/mod.ts";
import type { Install } from "../../sim/os/open_file.ts";
import { refuse } from "../../sim/os/refusal.ts";
import { type Argument, bytesToUser, structFromUser } from "../../sim/os/user.ts";
import { PROTOCOL_FEATURES } from "../wire/features.ts";
import { vfioUserDmaLoggingControl, vfioUserDmaLoggingReport } from "../wire/structs.ts";
import { DataFile, type DataPhase } from "./data_file.ts";
import type { OwnMemory } from "./own_memory.ts";
import type { RemoteDevice } from "./remote_device.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** struct vfio_device_feature without its data: argsz and flags. */
const HEAD = vfioDeviceFeature.size;
/** The most ranges that START takes, as in Linux. */
const RANGES_MAX = 256;
/** The most bytes of a feature of which only the length is known. */
const OTHER_MAX = 4096;

/** The size of each feature's own struct. */
const SIZES: Readonly<Record<number, number>> = {
  [VFIO_DEVICE_FEATURE_MIGRATION]: vfioDeviceFeatureMigration.size,
  [VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE]: vfioDeviceFeatureMigState.size,
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_START]: vfioDeviceFeatureDmaLoggingControl.size,
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT]: vfioDeviceFeatureDmaLoggingReport.size,
};

/** The states with migration data. */
const PHASES: Readonly<Record<number, DataPhase>> = {
  [VFIO_DEVICE_STATE_PRE_COPY]: "pre-copy",
  [VFIO_DEVICE_STATE_PRE_COPY_P2P]: "pre-copy",
  [VFIO_DEVICE_STATE_STOP_COPY]: "stop-copy",
  [VFIO_DEVICE_STATE_RESUMING]: "resuming",
};

/** Makes the calls, and keeps the session of migration data that they begin. */
export class FeatureCalls {
  readonly #device: RemoteDevice;
  readonly #memory: OwnMemory;
  readonly #install: Install;
  #data: DataFile | null = null;

  constructor(device: RemoteDevice, memory: OwnMemory, install: Install) {
    this.#device = device;
    this.#memory = memory;
    this.#install = install;
  }

  /** The device left its state by a reset. */
  reset(): void {
    this.#data?.enter(null);
    this.#data = null;
  }

  /** The data of a pre-copy that another client of the same device began. */
  takeOver(): DataFile {
    this.reset();
    this.#data = new DataFile(this.#device, "pre-copy");
    return this.#data;
  }

  /** The ioctl. */
  call(arg: Argument): number {
    if (typeof arg === "number" || arg.length < HEAD) return refuse("EFAULT");
    const view = new DataView(arg.buffer, arg.byteOffset, HEAD);
    const [argsz, flags] = [view.getUint32(0, true), view.getUint32(4, true)];
    if (argsz < HEAD || arg.length < argsz) return refuse("EINVAL");
    const feature = flags & VFIO_DEVICE_FEATURE_MASK;
    if (this.#device.connection.extension === null) {
      // A server without the extension answers EINVAL for each feature that it lacks.
      const access = PROTOCOL_FEATURES[feature] ?? refuse("ENOTTY");
      const asked = flags & (VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET);
      if ((asked & ~access) !== 0) return refuse("EINVAL");
    }
    if ((flags & VFIO_DEVICE_FEATURE_PROBE) !== 0) {
      this.#device.probe(request(flags, HEAD));
      return 0;
    }
    const get = (flags & VFIO_DEVICE_FEATURE_GET) !== 0;
    if (get === ((flags & VFIO_DEVICE_FEATURE_SET) !== 0)) return refuse("EINVAL");
    // As in Linux, an argument too short for its struct is refused before the feature is looked up.
    if (argsz < HEAD + (SIZES[feature] ?? 0)) return refuse("EINVAL");
    switch (feature) {
      case VFIO_DEVICE_FEATURE_MIGRATION:
        return this.#migration(arg, flags);
      case VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE:
        return this.#state(arg, flags, get);
      case VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
        return this.#start(arg, flags);
      case VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT:
        return this.#report(arg, flags);
      default:
        return this.#other(arg, argsz);
    }
  }

  #migration(arg: Bytes, flags: number): number {
    const length = HEAD + vfioDeviceFeatureMigration.size;
    const answer = this.#device.feature(request(flags, HEAD, length), length);
    bytesToUser(arg, HEAD, answer.subarray(HEAD, length));
    return 0;
  }

  #state(arg: Bytes, flags: number, get: boolean): number {
    const codec = vfioDeviceFeatureMigState;
    const length = HEAD + codec.size;
    const asked = get ? null : structFromUser(codec, arg, HEAD);
    const sent = request(flags, get ? HEAD : length, length);
    if (asked !== null) codec.pack({ ...asked, data_fd: -1 }, sent, HEAD);
    const answer = codec.unpack(this.#device.feature(sent, length), HEAD);
    const { device_state } = answer;
    const data_fd = asked === null ? -1 : this.#entered(asked.device_state, answer.data_fd);
    bytesToUser(arg, HEAD, codec.pack({ device_state, data_fd }));
    return 0;
  }

  /** The device came to a state; returns the fd of its data if that is new, else -1. */
  #entered(state: number, data_fd: number): number {
    const phase = PHASES[state] ?? null;
    const before = this.#data?.phase ?? null;
    const begins = this.#device.connection.extension !== null
      ? data_fd >= 0
      : before !== phase && !(before === "pre-copy" && phase === "stop-copy");
    if (phase === null || begins) this.reset();
    else this.#data?.enter(phase);
    if (phase === null || !begins) return -1;
    this.#data = new DataFile(this.#device, phase);
    return this.#install(this.#data);
  }

  #start(arg: Bytes, flags: number): number {
    const codec = vfioDeviceFeatureDmaLoggingControl;
    const { page_size, num_ranges, ranges } = structFromUser(codec, arg, HEAD);
    if (num_ranges === 0) return refuse("EINVAL");
    if (num_ranges > RANGES_MAX) return refuse("E2BIG");
    const own = vfioUserDmaLoggingControl;
    const inline = new Uint8Array(num_ranges * vfioDeviceFeatureDmaLoggingRange.size);
    this.#memory.load(ranges, inline);
    const sent = request(flags, HEAD + own.size + inline.length);
    own.pack({ page_size, num_ranges }, sent, HEAD);
    sent.set(inline, HEAD + own.size);
    const answer = own.unpack(this.#device.feature(sent, HEAD + own.size), HEAD);
    bytesToUser(arg, HEAD, codec.pack({ page_size: answer.page_size, num_ranges, ranges }));
    return 0;
  }

  #report(arg: Bytes, flags: number): number {
    const codec = vfioDeviceFeatureDmaLoggingReport;
    const { iova, length, page_size, bitmap } = structFromUser(codec, arg, HEAD);
    if (length === 0n || page_size === 0n || (page_size & (page_size - 1n)) !== 0n) {
      return refuse("EINVAL");
    }
    // A message has whole words of the bitmap. Some servers report only whole mappings, so it is
    // cut only if it must be.
    const perMessage = BigInt(Math.max(8, this.#device.connection.maxRead & ~7)) * 8n * page_size;
    for (let at = 0n; at < length; at += perMessage) {
      const part = length - at < perMessage ? length - at : perMessage;
      this.#reportPart(
        flags,
        { iova: iova + at, length: part, page_size },
        bitmap +
          at / page_size / 8n,
      );
    }
    return 0;
  }

  #reportPart(
    flags: number,
    range: { readonly iova: bigint; readonly length: bigint; readonly page_size: bigint },
    bitmap: bigint,
  ): void {
    const own = vfioUserDmaLoggingReport;
    const head = HEAD + own.size;
    const pages = (range.length + range.page_size - 1n) / range.page_size;
    const bytes = Number((pages + 63n) / 64n * 8n);
    const sent = request(flags, head, head + bytes);
    own.pack(range, sent, HEAD);
    const bits = this.#device.feature(sent, head + bytes).subarray(head, head + bytes);
    // As the kernel does, bits are set and none is cleared.
    const into = new Uint8Array(bytes);
    this.#memory.load(bitmap, into);
    const whole = Math.floor(Number(pages) / 8);
    for (let index = 0; index < whole; index++) into[index]! |= bits[index]!;
    // The bits behind the last page are the caller's.
    const over = Number(pages) % 8;
    if (over !== 0) into[whole]! |= bits[whole]! & ((1 << over) - 1);
    this.#memory.store(bitmap, into);
  }

  #other(arg: Bytes, argsz: number): number {
    if (argsz > OTHER_MAX) return refuse("EINVAL");
    const sent = arg.slice(0, argsz);
    const answer = this.#device.feature(sent, HEAD);
    bytesToUser(arg, HEAD, answer.subarray(HEAD));
    return 0;
  }
}

/** A struct vfio_device_feature of a length, whose reply has at most `argsz` bytes. */
function request(flags: number, length: number, argsz = length): Bytes {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, argsz, true);
  view.setUint32(4, flags, true);
  return bytes;
}
