/**
 * One check per fault of DMA mappings and dirty page tracking.
 */

import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/sys_error.ts";
import {
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_DIRTY_PGS,
  VFIO_IOMMU_INFO_PGSIZES,
  vfioInfoCapHeader,
  vfioIommuType1Info,
} from "../../src/uapi/mod.ts";
import { bytes, type Client } from "./_client.ts";
import { Type1Client } from "./_type1.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

type Act = (make: (query: string) => Client) => void;

/** The effect that the device's user sees, per fault. */
export const MEMORY_ACTS: Readonly<
  Record<"map" | "unmap" | "dirty-start" | "dirty-get" | "dirty-stop" | "draft-dirty-flag", Act>
> = {
  "map": (make) => {
    using client = make("fault=map:2:ENOMEM");
    using type1 = new Type1Client(client);
    type1.map(0, 1);
    refused("ENOMEM", () => type1.map(1, 1));
    type1.map(1, 1);
  },
  "unmap": (make) => {
    using client = make("fault=unmap:2:EFAULT");
    using type1 = new Type1Client(client);
    for (const page of [0, 1, 2]) type1.map(page, 1);
    refused("EFAULT", () => type1.unmap(0, 3));
    assert.equal(type1.unmap(0, 3), 2);
  },
  "dirty-start": (make) => {
    using client = make("fault=dirty-start:1:ENOMEM");
    using type1 = new Type1Client(client);
    type1.map(0, 1);
    refused("ENOMEM", () => type1.start());
    refused("EINVAL", () => type1.get(0, 1));
    type1.start();
    assert.deepEqual(type1.get(0, 1), [0n]);
  },
  "dirty-stop": (make) => {
    using client = make("fault=dirty-stop:1:EIO");
    using type1 = new Type1Client(client);
    type1.map(0, 1);
    type1.start();
    refused("EIO", () => type1.stop());
    assert.deepEqual(type1.get(0, 1), [0n]);
    type1.stop();
    refused("EINVAL", () => type1.get(0, 1));
  },
  "dirty-get": (make) => {
    using client = make("fault=dirty-get:2:EFAULT");
    using type1 = new Type1Client(client);
    type1.map(0, 1);
    type1.start();
    type1.get(0, 1);
    refused("EFAULT", () => type1.get(0, 1));
    type1.get(0, 1);
  },
  "draft-dirty-flag": (make) => {
    using client = make("fault=draft-dirty-flag");
    const arg = bytes(256);
    new DataView(arg.buffer).setUint32(0, 256, true);
    client.kernel.ioctl(client.container, VFIO_IOMMU_GET_INFO, arg);
    const { flags, cap_offset } = vfioIommuType1Info.unpack(arg);
    assert.equal(
      flags,
      VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS | VFIO_IOMMU_INFO_DIRTY_PGS,
    );
    assert.deepEqual(vfioInfoCapHeader.unpack(arg, cap_offset), { id: 3, version: 1, next: 0 });
  },
};
