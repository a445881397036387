/**
 * The features DMA_LOGGING_START, _STOP and _REPORT, checked in the kernel's
 * order. The log itself is in ../dma/dma_log.ts.
 */

import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_SET,
  vfioDeviceFeatureDmaLoggingControl,
  vfioDeviceFeatureDmaLoggingRange,
  vfioDeviceFeatureDmaLoggingReport,
} from "../../uapi/mod.ts";
import type { DeviceModel } from "./device_model.ts";
import type { DmaLog, LoggedRange } from "../dma/dma_log.ts";
import type { FeatureCall } from "./feature_call.ts";
import { refuse } from "../os/refusal.ts";
import type { UserMemory } from "../os/user_memory.ts";

/** The kernel takes as many ranges as fit in one page. */
const MAX_RANGES = 4096 / vfioDeviceFeatureDmaLoggingRange.size;
const LEAST_PAGE = 4096n;
const TOP = 1n << 64n;

/** The features of a device that logs its DMA. */
export class LoggingFeature {
  readonly #device: DeviceModel;
  readonly #log: DmaLog;
  readonly #memory: UserMemory;

  constructor(device: DeviceModel, log: DmaLog, memory: UserMemory) {
    this.#device = device;
    this.#log = log;
    this.#memory = memory;
  }

  /** Handles one of the three features. */
  call(call: FeatureCall): number {
    switch (call.feature) {
      case VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
        return this.#start(call);
      case VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP:
        if (!call.check(VFIO_DEVICE_FEATURE_SET, 0)) return 0;
        for (const { errno } of this.#device.faults.due("log-stop")) refuse(errno);
        this.#device.elapse();
        this.#log.stop();
        return 0;
      default:
        return this.#report(call);
    }
  }

  #start(call: FeatureCall): number {
    const codec = vfioDeviceFeatureDmaLoggingControl;
    if (!call.check(VFIO_DEVICE_FEATURE_SET, codec.size)) return 0;
    const control = call.payload(codec);
    const { num_ranges, page_size, ranges } = control;
    if (num_ranges === 0) refuse("EINVAL");
    if (num_ranges > MAX_RANGES) refuse("E2BIG");
    const taken: LoggedRange[] = [];
    for (let index = 0; index < num_ranges; index += 1) {
      const range = this.#range(ranges, index, page_size);
      if (taken.some(({ iova, end }) => range.iova < end && iova < range.end)) refuse("EINVAL");
      taken.push(range);
    }
    for (const { errno } of this.#device.faults.due("log-start")) refuse(errno);
    // DMA up to now is not logged.
    this.#device.elapse();
    taken.sort((a, b) => a.iova < b.iova ? -1 : 1);
    call.answer(codec, { ...control, page_size: this.#log.start(taken, page_size) });
    return 0;
  }

  #range(array: bigint, index: number, pageSize: bigint): LoggedRange {
    const codec = vfioDeviceFeatureDmaLoggingRange;
    const bytes = new Uint8Array(codec.size);
    this.#memory.read(array + BigInt(index * codec.size), bytes);
    const { iova, length } = codec.unpack(bytes);
    // The kernel's alignment check assumes a power of two, whatever pageSize is.
    const inside = BigInt.asUintN(64, pageSize - 1n);
    if (((iova | length) & inside) !== 0n) refuse("EINVAL");
    return { iova, end: end(iova, length) };
  }

  #report(call: FeatureCall): number {
    const codec = vfioDeviceFeatureDmaLoggingReport;
    if (!call.check(VFIO_DEVICE_FEATURE_GET, codec.size)) return 0;
    const { iova, length, page_size, bitmap } = call.payload(codec);
    if (page_size < LEAST_PAGE || (page_size & (page_size - 1n)) !== 0n) refuse("EINVAL");
    const range = { iova, end: end(iova, length) };
    const { faults } = this.#device;
    if (faults.standing("no-log-report") !== undefined) refuse("EOPNOTSUPP");
    for (const { name, errno } of faults.due("log-report")) {
      if (name === "log-report") refuse(errno);
      this.#log.fail();
    }
    this.#device.elapse();
    this.#log.report(range, page_size, this.#memory, bitmap);
    return 0;
  }
}

/** The first address after a range. A range that ends at 2^64 is refused too. */
function end(iova: bigint, length: bigint): bigint {
  return iova + length < TOP ? iova + length : refuse("EOVERFLOW");
}
