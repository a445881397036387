import assert from "node:assert/strict";
import { SimKernel } from "../../src/sim/mod.ts";
import { parseDeviceName } from "../../src/vfio/open/device_name.ts";
import { openVfioDevices } from "../../src/vfio/open/open_several.ts";
import { addPci, ADDRESS, fakeVfio } from "./_fake_vfio.ts";
import { leakFreeTest } from "./_leak_free.ts";

const OTHER = "0000:3b:00.2";

leakFreeTest("devices of one group share it, and its container", () => {
  const kernel = fakeVfio({ devices: [ADDRESS, OTHER] });
  addPci(kernel, OTHER, "/sys/devices/pci0000:3a/0000:3b:00.2", 12, "ice-vfio-pci");
  const devices = openVfioDevices(kernel, [ADDRESS, OTHER].map(parseDeviceName));
  assert.deepEqual(devices.map(({ label }) => label), [ADDRESS, OTHER]);
  assert.equal(devices[0]!.group, devices[1]!.group);
  assert.equal(devices[0]!.container, devices[1]!.container);
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
