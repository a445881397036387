/**
 * A device's own log of what it wrote to, driven by one function a feature.
 */

import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Mapping,
  PROT_READ,
  PROT_WRITE,
} from "../../src/kernel/kernel.ts";
import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_SET,
  vfioDeviceFeatureDmaLoggingControl,
  vfioDeviceFeatureDmaLoggingRange,
  vfioDeviceFeatureDmaLoggingReport,
} from "../../src/uapi/mod.ts";
import { bytes } from "./_device_client.ts";
import type { V2Client } from "./_v2_client.ts";

const SIZE = 1 << 20;

/** The log of a client's device. */
export class LogClient implements Disposable {
  readonly client: V2Client;
  /** Ranges go to its first half, bitmaps to the second. */
  readonly memory: Mapping;

  constructor(client: V2Client) {
    this.client = client;
    this.memory = client.kernel.mmap(SIZE, {
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
    this.client.feature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START, payload);
    return vfioDeviceFeatureDmaLoggingControl.unpack(payload).page_size;
  }

  stop(): void {
    this.client.feature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP);
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
    this.memory.write(size, bytes(size).fill(prefill));
    this.client.feature(
      VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
      vfioDeviceFeatureDmaLoggingReport.pack({ iova, length, page_size, bitmap }),
    );
    const bits = bytes(size);
    this.memory.read(size, bits);
    return Array.from({ length: Math.min(size * 8, 8192) }, (_, bit) => bit)
      .filter((bit) => (bits[bit >> 3]! & 1 << (bit & 7)) !== 0);
  }
}
