import assert from "node:assert/strict";
import { SimKernel } from "../../src/sim/mod.ts";
import { parseDeviceName } from "../../src/vfio/open/device_name.ts";
import { openVfioDevices } from "../../src/vfio/open/open_several.ts";
import { fakeCdev } from "./_fake_cdev.ts";
import { addPci, ADDRESS, fakeVfio, GROUP_PATH } from "./_fake_vfio.ts";
import { leakFreeTest } from "./_leak_free.ts";

const OTHER = "0000:3b:00.2";

leakFreeTest("devices of one group share it, and its container", () => {
  const kernel = fakeVfio({ devices: [ADDRESS, OTHER] });
  addPci(kernel, OTHER, "/sys/devices/pci0000:3a/0000:3b:00.2", 12, "ice-vfio-pci");
  const devices = openVfioDevices(kernel, [ADDRESS, OTHER].map(parseDeviceName));
  assert.deepEqual(devices.map(({ label }) => label), [ADDRESS, OTHER]);
  assert.equal(devices[0]!.group, devices[1]!.group);
  assert.equal(devices[0]!.container, devices[1]!.container);
  assert.deepEqual(devices.map(({ reopenable }) => reopenable), [false, false]);
  for (const device of devices.reverse()) device.close();
  assert.equal(kernel.fds.size, 0);
});

leakFreeTest("devices of different groups have one each", () => {
  const kernel = new SimKernel("mapped", "trapped");
  const names = kernel.devices.map(({ path }) => parseDeviceName(path));
  const devices = openVfioDevices(kernel, names);
  assert.notEqual(devices[0]!.group, devices[1]!.group);
  for (const device of devices.reverse()) device.close();
  assert.deepEqual(kernel.openObjects, []);
});

leakFreeTest("if one cannot be opened, none stays open", () => {
  const kernel = fakeVfio({ devices: [ADDRESS] });
  assert.throws(
    () => openVfioDevices(kernel, [ADDRESS, OTHER].map(parseDeviceName)),
    { name: "UnsupportedError" },
  );
  assert.equal(kernel.fds.size, 0);
});

leakFreeTest("one device by two names is refused, before any is opened", () => {
  const kernel = new SimKernel("mapped", "trapped");
  const { path } = kernel.devices[0]!;
  assert.throws(() => openVfioDevices(kernel, ["vfio0", path].map(parseDeviceName)), {
    name: "DeviceNameError",
    message: `Cannot open "${path}" twice: it is the same device as "vfio0"`,
  });
  assert.deepEqual(kernel.openObjects, []);
});

leakFreeTest("a device without its own node is opened by its group beside one that has one", () => {
  const { kernel } = fakeCdev({ devices: [ADDRESS, OTHER] });
  addPci(kernel, OTHER, "/sys/devices/pci0000:3a/0000:3b:00.2", 13, "ice-vfio-pci");
  kernel.nodes.set("/dev/vfio/13", kernel.nodes.get(GROUP_PATH)!);
  const devices = openVfioDevices(kernel, [ADDRESS, OTHER].map(parseDeviceName));
  assert.deepEqual(devices.map(({ via }) => via), ["cdev", "group"]);
  assert.equal(devices[1]!.whyNotCdev?.code, "no-cdev");
  for (const device of devices.reverse()) device.close();
  assert.equal(kernel.fds.size, 0);
});
