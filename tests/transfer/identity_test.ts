import assert from "node:assert/strict";
import { it } from "node:test";
import { checkHeader } from "../../src/checkpoint/metadata/header_json.ts";
import { checkIdentity } from "../../src/transfer/identity/check_identity.ts";
import type { DeviceIdentity } from "../../src/checkpoint/metadata/device_identity.ts";

const SAVED: DeviceIdentity = {
  protocol: "v1",
  bus: "mdev",
  driver: "nvidia",
  vendorId: 0x10de,
  deviceId: 0x1eb8,
  subsystemVendorId: 0x10de,
  subsystemId: 0x12a2,
  mdevType: "nvidia-63",
  region: { type: 3, subtype: 1 },
};

it("a device of the same kind fits", () => {
  assert.deepEqual(checkIdentity(SAVED, { ...SAVED, region: { type: 3, subtype: 1 } }), []);
});

it("every field that differs is named", () => {
  const changes: [Partial<DeviceIdentity>, string][] = [
    [{ protocol: "v2" }, 'the protocol is "v1" in the checkpoint, "v2" of this device'],
    [{ bus: "pci" }, 'the bus is "mdev" in the checkpoint, "pci" of this device'],
    [{ driver: "i915" }, 'the driver is "nvidia" in the checkpoint, "i915" of this device'],
    [{ vendorId: 1 }, "the vendor id is 0x10de in the checkpoint, 0x0001 of this device"],
    [{ deviceId: 1 }, "the device id is 0x1eb8 in the checkpoint, 0x0001 of this device"],
    [
      { subsystemVendorId: 1 },
      "the subsystem vendor id is 0x10de in the checkpoint, 0x0001 of this device",
    ],
    [{ subsystemId: 1 }, "the subsystem id is 0x12a2 in the checkpoint, 0x0001 of this device"],
    [
      { mdevType: "nvidia-64" },
      'the mdev type is "nvidia-63" in the checkpoint, "nvidia-64" of this device',
    ],
    [
      { region: { type: 3, subtype: 2 } },
      "the migration region is type 3 subtype 1 in the checkpoint, type 3 subtype 2 of this device",
    ],
    [
      { region: null },
      "the migration region is type 3 subtype 1 in the checkpoint, none of this device",
    ],
  ];
  for (const [change, words] of changes) {
    assert.deepEqual(checkIdentity(SAVED, { ...SAVED, ...change }), [words]);
  }
  assert.equal(checkIdentity(SAVED, { ...SAVED, protocol: "v2", region: null }).length, 2);
});

it("what is not known of either does not differ", () => {
  const bare: DeviceIdentity = {
    ...SAVED,
    bus: "unknown",
    driver: null,
    vendorId: null,
    deviceId: null,
    subsystemVendorId: null,
    subsystemId: null,
    mdevType: null,
  };
  assert.deepEqual(checkIdentity(SAVED, bare), []);
  assert.deepEqual(checkIdentity(bare, SAVED), []);
});

it("a vGPU's type is a part of what it is, and left out of every other header", () => {
  const vgpu: DeviceIdentity = { ...SAVED, vgpuType: "558" };
  assert.deepEqual(checkIdentity(vgpu, { ...vgpu, vgpuType: "559" }), [
    'the vGPU type is "558" in the checkpoint, "559" of this device',
  ]);
  assert.deepEqual(checkIdentity(SAVED, vgpu), []);
  const header = {
    ...{ tool: "test", created: "2026-02-03T04:05:06Z", complete: true, digest: null },
    ...{ iovaPageSize: null, devices: [vgpu, SAVED] },
  };
  const { devices } = checkHeader(header);
  assert.deepEqual(devices, [vgpu, SAVED]);
  assert.deepEqual("vgpuType" in devices[1]!, false);
});
