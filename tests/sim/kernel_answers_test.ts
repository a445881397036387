/**
 * The answers that kernel 6.1 gave to a program that tried requests on an mdev. Its
 * answers about containers and memory are in tests/dirty/type1_cases.
 */

import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/sys_error.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_GROUP_GET_STATUS,
  vfioDeviceFeature,
  vfioDeviceInfo,
  vfioGroupStatus,
  vfioRegionInfo,
} from "../../src/uapi/mod.ts";
import { bytes, Client } from "./_client.ts";

describe("the simulated kernel answers like kernel 6.1", () => {
  it("VFIO_GROUP_GET_STATUS: viable, in a container", () => {
    using client = Client.of("trapped?size=64KiB");
    const status = vfioGroupStatus.pack({});
    assert.equal(client.kernel.ioctl(client.group, VFIO_GROUP_GET_STATUS, status), 0);
    assert.equal(vfioGroupStatus.unpack(status).flags, 3);
  });

  it("VFIO_DEVICE_GET_INFO: regions, interrupts, and argsz", () => {
    using client = Client.of("trapped?size=64KiB");
    const arg = vfioDeviceInfo.pack({});
    assert.equal(client.kernel.ioctl(client.fd, VFIO_DEVICE_GET_INFO, arg), 0);
    const { flags, num_regions, num_irqs, argsz } = vfioDeviceInfo.unpack(arg);
    assert.deepEqual([flags, num_regions, num_irqs, argsz], [3, 10, 5, 20]);
  });

  it("VFIO_DEVICE_GET_REGION_INFO of the first index without a region: EINVAL", () => {
    using client = Client.of("trapped?size=64KiB");
    const arg = vfioRegionInfo.pack({ index: 10 });
    assert.throws(
      () => client.kernel.ioctl(client.fd, VFIO_DEVICE_GET_REGION_INFO, arg),
      (error) => isErrno(error, "EINVAL"),
    );
  });

  it("VFIO_DEVICE_FEATURE of v2 migration: ENOTTY", () => {
    using client = Client.of("trapped?size=64KiB");
    const flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION;
    const arg = vfioDeviceFeature.pack({ flags, data: bytes(8) });
    assert.throws(
      () => client.kernel.ioctl(client.fd, VFIO_DEVICE_FEATURE, arg),
      (error) => isErrno(error, "ENOTTY"),
    );
  });

  it("VFIO_DEVICE_RESET: 0", () => {
    using client = Client.of("trapped?size=64KiB");
    assert.equal(client.kernel.ioctl(client.fd, VFIO_DEVICE_RESET), 0);
  });
});
