import assert from "node:assert/strict";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_PLATFORM,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
  VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
} from "../../src/uapi/mod.ts";
import { parseDeviceName } from "../../src/vfio/open/device_name.ts";
import { openVfioDevice } from "../../src/vfio/open/open.ts";
import { addMdev, fakeDevice, fakeVfio, MIGRATION_REGION } from "./_fake_vfio.ts";
import { open, reasonsOf } from "./_open_fake.ts";
import { leakFreeTest } from "./_leak_free.ts";

function configSpace(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(64));
  const view = new DataView(bytes.buffer);
  [0x10de, 0x1eb8].forEach((id, index) => view.setUint16(index * 2, id, true));
  [0x10de, 0x1309].forEach((id, index) => view.setUint16(0x2c + index * 2, id, true));
  return bytes;
}

leakFreeTest("a borrowed device is neither closed nor reset, and needs no group", () => {
  const kernel = fakeVfio();
  let resets = 0;
  const file = fakeDevice({ config: configSpace(), regions: { 7: { flags: 1, size: 256n } } });
  kernel.install({
    ...file,
    ioctl(request, arg): number {
      if (request === VFIO_DEVICE_RESET) resets += 1;
      return file.ioctl!(request, arg);
    },
  }, 3);
  {
    using device = open(kernel, "fd:3");
    assert.deepEqual([device.borrowed, device.group, device.container, device.sysfs], [
      true,
      null,
      null,
      null,
    ]);
    assert.deepEqual(device.identity(), {
      bus: "pci",
      driver: null,
      vendorId: 0x10de,
      deviceId: 0x1eb8,
      subsystemVendorId: 0x10de,
      subsystemId: 0x1309,
      mdevType: null,
    });
  }
  assert.deepEqual(kernel.log, []);
  assert.equal(resets, 0);
  assert.ok(kernel.fds.has(3));
});

leakFreeTest("a borrowed device is known by the group that is lent with it", () => {
  const kernel = fakeVfio();
  const uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
  addMdev(kernel, uuid, {
    group: 13,
    driver: "nvidia-vgpu-vfio",
    type: "nvidia-63",
    parent: "nvidia",
  });
  kernel.install(
    fakeDevice({ config: configSpace(), regions: { 7: { flags: 1, size: 256n } } }),
    3,
  );
  kernel.install({}, 4);
  kernel.install({}, 5);
  kernel.links.set("/proc/self/fd/4", "/dev/vfio/13");
  const device = open(kernel, "fd:3", { groupFd: 4, containerFd: 5 });
  assert.equal(device.label, "fd:3");
  assert.equal(device.group?.number, 13);
  assert.equal(device.container?.fd.number, 5);
  assert.deepEqual(device.identity(), {
    bus: "mdev",
    driver: "nvidia-vgpu-vfio",
    vendorId: 0x10de,
    deviceId: 0x1eb8,
    subsystemVendorId: 0x10de,
    subsystemId: 0x1309,
    mdevType: "nvidia-63",
  });
  device.close();
  assert.equal(kernel.fds.size, 3);
});

leakFreeTest("an fd that is closed is distinguished from one that is no device", () => {
  const kernel = fakeVfio();
  assert.equal(reasonsOf(() => open(kernel, "fd:3"))[0]?.message, "fd 3 is not open");
  kernel.install({}, 3);
  const [reason] = reasonsOf(() => open(kernel, "fd:3"));
  assert.equal(reason?.code, "not-a-vfio-device");
  assert.match(reason!.message, /VFIO_DEVICE_GET_INFO answers ENOTTY/);
});

leakFreeTest("a bare fd that is not PCI says what its flags say", () => {
  for (
    const [deviceFlags, bus] of [[VFIO_DEVICE_FLAGS_PLATFORM, "platform"], [0, "unknown"]] as const
  ) {
    const kernel = fakeVfio();
    kernel.install(fakeDevice({ deviceFlags }), 3);
    using device = open(kernel, "fd:3");
    assert.equal(device.identity().bus, bus);
    assert.equal(device.identity().vendorId, null);
    assert.equal(device.resettable, false);
  }
});

leakFreeTest("configuration space that cannot be read, or reads as nothing, gives no ids", () => {
  const ones = new Uint8Array(new ArrayBuffer(64)).fill(0xff);
  const config = { flags: 1, size: 256n };
  const cases = [
    { regions: { 7: config } },
    { regions: { 7: config }, config: ones },
    { regions: { 7: config }, config: new Uint8Array(new ArrayBuffer(64)) },
    { regions: { 7: { ...config, size: 0n } }, config: configSpace() },
    { regions: { 7: { ...config, flags: 0 } }, config: configSpace() },
    { regions: { 7: "EINVAL" as const }, config: configSpace() },
    { numRegions: 7, config: configSpace() },
  ];
  for (const fake of cases) {
    const kernel = fakeVfio();
    kernel.install(fakeDevice({ ...fake, deviceFlags: VFIO_DEVICE_FLAGS_PCI }), 3);
    using device = open(kernel, "fd:3");
    assert.equal(device.identity().vendorId, null);
  }
});

leakFreeTest("regions are read once; indices that the device leaves out are left out", () => {
  let asked = 0;
  const kernel = fakeVfio();
  const file = fakeDevice({ regions: { 8: "EINVAL", 9: MIGRATION_REGION } });
  kernel.install({
    ioctl(request, arg): number {
      if (request === VFIO_DEVICE_GET_REGION_INFO) asked += 1;
      return file.ioctl!(request, arg);
    },
  }, 3);
  using device = open(kernel, "fd:3");
  const before = asked;
  const region = device.region(9);
  assert.equal(device.region(9), region);
  // Once without room for capabilities, once with.
  assert.equal(asked, before + 2);
  assert.deepEqual(device.regions().map(({ index }) => index), [0, 1, 2, 3, 4, 5, 6, 7, 9]);
  assert.throws(() => device.region(8), { name: "SysError", code: "EINVAL" });
  assert.throws(() => device.region(10), RangeError);
  assert.throws(() => device.region(-1), RangeError);
  assert.throws(() => device.region(1.5), RangeError);
});

leakFreeTest(
  "a region of a type is found past a broken one, and the fault is reported if none is",
  () => {
    const type = VFIO_REGION_TYPE_MIGRATION_DEPRECATED;
    const subtype = VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED;
    const broken = { ...MIGRATION_REGION, capabilities: new Uint8Array(new ArrayBuffer(4)) };
    const find = (regions: Record<number, typeof MIGRATION_REGION>): number | undefined => {
      const kernel = fakeVfio();
      kernel.install(fakeDevice({ regions }), 3);
      using device = open(kernel, "fd:3");
      return device.findRegion(type, subtype)?.index;
    };
    assert.equal(find({ 2: broken, 9: MIGRATION_REGION }), 9);
    assert.equal(find({}), undefined);
    assert.throws(() => find({ 2: broken }), /region 2 of device fd 3.*truncated/);
  },
);

leakFreeTest("a device with more regions than can be is refused before they are walked", () => {
  const kernel = fakeVfio({ numRegions: 0xffff_ffff });
  assert.throws(() => open(kernel), { name: "AnswerError", message: /4294967295 regions/ });
  assert.equal(kernel.fds.size, 0);
});

leakFreeTest("a refused reset names the request and the device", () => {
  const kernel = new SimKernel("trapped?fault=reset:1:EIO");
  using device = openVfioDevice(kernel, parseDeviceName("sim:trapped"));
  assert.throws(() => device.reset(), {
    name: "SysError",
    message: /^ioctl VFIO_DEVICE_RESET device 76666b69-.*: EIO/,
  });
});
