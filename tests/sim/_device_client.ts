/**
 * An open simulated device: the part that the clients of both protocols share.
 */

import { O_RDWR } from "../../src/kernel/kernel.ts";
import { type SimDevice, SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  vfioRegionInfo,
} from "../../src/uapi/mod.ts";

export type Bytes = Uint8Array<ArrayBuffer>;

export function bytes(length: number): Bytes {
  return new Uint8Array(length);
}

export function int(value: number): Bytes {
  const buffer = bytes(4);
  new DataView(buffer.buffer).setInt32(0, value, true);
  return buffer;
}

export function text(value: string): Bytes {
  return new TextEncoder().encode(`${value}\0`) as Bytes;
}

/** The common part of the clients of both protocols. */
export type AnyClient = Pick<DeviceClient, "kernel" | "device" | "container" | "group">;

export class DeviceClient {
  readonly kernel: SimKernel;
  readonly device: SimDevice;
  readonly container: number;
  readonly group: number;
  readonly fd: number;
  #closed = false;

  constructor(kernel: SimKernel, number = 0) {
    this.kernel = kernel;
    this.device = kernel.devices[number]!;
    this.container = kernel.open("/dev/vfio/vfio", O_RDWR);
    this.group = kernel.open(`/dev/vfio/${number}`, O_RDWR);
    kernel.ioctl(this.group, VFIO_GROUP_SET_CONTAINER, int(this.container));
    kernel.ioctl(this.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
    this.fd = kernel.ioctl(this.group, VFIO_GROUP_GET_DEVICE_FD, text(this.device.path));
  }

  static of(...specs: string[]): DeviceClient {
    return new DeviceClient(new SimKernel(...specs));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.kernel.close(this.fd);
    this.kernel.close(this.group);
    this.kernel.close(this.container);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  regionInfo(index: number, argsz = 4096): Bytes {
    const info = bytes(argsz);
    vfioRegionInfo.pack({ argsz, index }, info);
    this.kernel.ioctl(this.fd, VFIO_DEVICE_GET_REGION_INFO, info);
    return info;
  }

  reset(): void {
    this.kernel.ioctl(this.fd, VFIO_DEVICE_RESET);
  }
}
