/**
 * A device's own log of what it wrote to, driven by one function a feature; and
 * what is refused, by the simulator and by real kernels alike.
 */

import assert from "node:assert/strict";
import { isErrno } from "../../../src/kernel/sys_error.ts";
import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Mapping,
  PROT_READ,
  PROT_WRITE,
} from "../../../src/kernel/kernel.ts";
import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_SET,
  vfioDeviceFeatureDmaLoggingControl,
  vfioDeviceFeatureDmaLoggingRange,
  vfioDeviceFeatureDmaLoggingReport,
} from "../../../src/uapi/mod.ts";
import type { V2Calls } from "./calls.ts";

const SIZE = 1 << 20;

/** The log of a device. */
export class LogCalls implements Disposable {
  readonly calls: V2Calls;
  /** Ranges go to its first half, bitmaps to the second. */
  readonly memory: Mapping;

  constructor(calls: V2Calls) {
    this.calls = calls;
    this.memory = calls.kernel.mmap(SIZE, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
  }

  [Symbol.dispose](): void {
    this.memory.close();
  }

  /** Starts; returns the page size that the device chose. */
  start(
    ranges: readonly (readonly [iova: bigint, length: bigint])[],
    page_size = 4096n,
    address: bigint = this.memory.address,
    num_ranges: number = ranges.length,
  ): bigint {
    ranges.forEach(([iova, length], index) =>
      this.memory.write(index * 16, vfioDeviceFeatureDmaLoggingRange.pack({ iova, length }))
    );
    const payload = vfioDeviceFeatureDmaLoggingControl.pack({
      page_size,
      num_ranges,
      ranges: address,
    });
    this.calls.feature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START, payload);
    return vfioDeviceFeatureDmaLoggingControl.unpack(payload).page_size;
  }

  stop(): void {
    this.calls.feature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP);
  }

  /** Reports; returns the numbers of the bits that are set, over a byte that is filled before. */
  report(
    iova: bigint,
    length: bigint,
    page_size = 4096n,
    prefill = 0,
    bitmap: bigint = this.memory.address + BigInt(SIZE / 2),
  ): number[] {
    const size = SIZE / 2;
    this.memory.write(size, new Uint8Array(size).fill(prefill));
    this.calls.feature(
      VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
      vfioDeviceFeatureDmaLoggingReport.pack({ iova, length, page_size, bitmap }),
    );
    const bits = new Uint8Array(size);
    this.memory.read(size, bits);
    return Array.from({ length: Math.min(size * 8, 8192) }, (_, bit) => bit)
      .filter((bit) => (bits[bit >> 3]! & 1 << (bit & 7)) !== 0);
  }
}

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

/** What the kernel checks before it asks the driver, in its order. The log is off. */
export function askLogOrder(log: LogCalls): void {
  const all: readonly (readonly [bigint, bigint])[] = [[0n, 1n << 22n]];
  refused("EINVAL", () => log.start([], 4096n, 0n));
  refused("E2BIG", () => log.start([], 4096n, 0n, 257));
  refused("EFAULT", () => log.start([], 4096n, 0n, 256));
  refused("EFAULT", () => log.start(all, 4096n, 8n));
  refused("EINVAL", () => log.start([[1n, 4096n]]));
  refused("EINVAL", () => log.start([[0n, 4097n]]));
  refused("EINVAL", () => log.start([[4096n, 8192n]], 8192n));
  refused("EOVERFLOW", () => log.start([[2n ** 64n - 4096n, 4096n]]));
  refused("EINVAL", () => log.start([[0n, 8192n], [4096n, 4096n]]));
  for (const size of [0n, 2048n, 12288n]) {
    refused("EINVAL", () => log.report(0n, 4096n, size));
  }
  refused("EOVERFLOW", () => log.report(2n ** 64n - 4096n, 4096n));
}
