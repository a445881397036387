import assert from "node:assert/strict";
import { SimKernel } from "../../src/sim/mod.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { DeviceNameError, parseDeviceName } from "../../src/vfio/open/device_name.ts";
import { openVfioDevice } from "../../src/vfio/open/open.ts";
import { openVfioDevices } from "../../src/vfio/open/open_several.ts";
import { probe } from "../../src/vfio/probe.ts";
import { it } from "node:test";
import { fail, FakeKernel } from "./_fake_kernel.ts";
import { addPci, ADDRESS, fakeVfio, FOLDER, GROUP_PATH } from "./_fake_vfio.ts";
import { leakFreeTest } from "./_leak_free.ts";
import { codesOf, open, reasonsOf } from "./_open_fake.ts";

/** A kernel with the fake function, and what VFIO and the network driver made of it. */
function named(): FakeKernel {
  const kernel = fakeVfio();
  for (const [kind, name] of [["vfio-dev", "vfio7"], ["net", "eth0"]]) {
    const folder = `${FOLDER}/${kind}/${name}`;
    kernel.links.set(`/sys/class/${kind}/${name}`, folder);
    kernel.links.set(`${folder}/device`, FOLDER);
    kernel.links.set(`${folder}/subsystem`, `../../../../../class/${kind}`);
  }
  return kernel;
}

leakFreeTest("a device is opened by what VFIO made of it, and by what another class lists", () => {
  const names = [
    "vfio7",
    "/dev/vfio/devices/vfio7",
    "/sys/class/vfio-dev/vfio7",
    `${FOLDER}/vfio-dev/vfio7`,
    "/sys/class/net/eth0",
    "/sys/class/net/eth0/device",
  ];
  for (const name of names) {
    using device = open(named(), name);
    assert.equal(device.label, ADDRESS, name);
  }
});

leakFreeTest("a VFIO device that is not there says where it was looked for", () => {
  const [reason] = reasonsOf(() => open(named(), "/dev/vfio/devices/vfio8"));
  assert.equal(
    reason?.message,
    'There is no device "vfio8": /sys/class/vfio-dev/vfio8 is not a device',
  );
  assert.equal(reason?.hint, "See what there is: ls /sys/class/vfio-dev");
});

leakFreeTest("a group is no device, and says which devices it has", () => {
  const kernel = named();
  addPci(kernel, "0000:3b:00.2", "/sys/devices/pci0000:3a/0000:3b:00.2", 12, null);
  for (const name of [GROUP_PATH, "/sys/class/vfio/12", "/sys/kernel/iommu_groups/12"]) {
    for (const opened of [true, false]) {
      assert.throws(
        () => probe(name, { kernel, open: opened }),
        (error) => {
          assert.ok(error instanceof DeviceNameError);
          assert.equal(
            error.message,
            `Cannot use "${name}" as a device name: it is an IOMMU group, and no device: ` +
              `it has ${ADDRESS} (ice-vfio-pci), 0000:3b:00.2 (no driver)`,
          );
          return true;
        },
      );
    }
  }
  assert.throws(() => open(kernel, "/dev/vfio/99"), /no device; sysfs shows no device in it/);
  assert.throws(() => open(kernel, "/dev/vfio/vfio"), /node of VFIO's containers, and no device/);
});

leakFreeTest("several devices are opened by these names, and one by two of them is refused", () => {
  const kernel = new SimKernel("mapped?cdev=1", "trapped");
  const names = ["vfio0", "/dev/vfio/devices/vfio1"].map(parseDeviceName);
  const devices = openVfioDevices(kernel, names);
  assert.deepEqual(
    devices.map(({ label }) => label),
    kernel.devices.map(({ path }) => path),
  );
  for (const device of devices.reverse()) device.close();
  assert.deepEqual(kernel.openObjects, []);
});

it("the same device by two names is refused", async () => {
  const kernel = new SimKernel("mapped");
  const { path } = kernel.devices[0]!;
  await assert.rejects(
    openDevices(["vfio0", path], { kernel }),
    new RegExp(`twice: it is the same device as "vfio0"`),
  );
  await assert.rejects(openDevices(["/dev/vfio/0"], { kernel }), DeviceNameError);
  assert.deepEqual(kernel.openObjects, []);
});

leakFreeTest("a mediated device without a group is opened by its own node", () => {
  const kernel = new SimKernel("trapped?cdev=1&group=0", "mapped");
  const [name] = kernel.devices.map(({ path }) => parseDeviceName(path));
  {
    using device = openVfioDevice(kernel, name!);
    assert.deepEqual([device.via, device.sysfs?.group], ["cdev", null]);
  }
  const devices = openVfioDevices(kernel, kernel.devices.map(({ path }) => parseDeviceName(path)));
  assert.equal(devices[0]!.ioas!.iommufd, devices[1]!.ioas!.iommufd);
  for (const device of devices.reverse()) device.close();
  assert.deepEqual(codesOf(() => openVfioDevice(kernel, name!, { via: "group" })), [
    "no-iommu-group",
  ]);
  assert.deepEqual(kernel.openObjects, []);
  const spec = "trapped?cdev=1&group=0";
  for (const options of [{}, { open: false }]) {
    const report = probe(`sim:${spec}`, { ...options, kernel: new SimKernel(spec) });
    assert.deepEqual([report.reasons, report.group], [[], null]);
  }
});

leakFreeTest("sysfs that may not be read is a reason, wherever on the way that shows", () => {
  const closed = (pattern: RegExp): FakeKernel => {
    const kernel = named();
    for (const call of ["readText", "readLink", "readDir", "realPath"] as const) {
      const read = kernel[call].bind(kernel) as (path: string) => never;
      Object.assign(kernel, {
        [call]: (path: string) => pattern.test(path) ? fail("EACCES") : read(path),
      });
    }
    return kernel;
  };
  for (const pattern of [/^\/sys/, /\/class$/, /\/subsystem$/, /\/iommu_group$/, /\/vfio-dev$/]) {
    const [reason] = reasonsOf(() => open(closed(pattern)));
    assert.equal(reason?.code, "sysfs-unreadable", String(pattern));
    const report = probe(ADDRESS, { kernel: closed(pattern), open: false });
    assert.deepEqual(report.reasons.map(({ code }) => code), ["sysfs-unreadable"]);
    assert.equal(report.migratable, null);
  }
  // What only explains does not stand in the way.
  for (
    const pattern of [/iommu_groups\/12\/devices/, /reserved_regions$/, /^\/proc/, /\/config$/]
  ) {
    const kernel = closed(pattern);
    open(kernel).close();
    assert.equal(probe(ADDRESS, { kernel }).migratable, true);
    assert.equal(probe(ADDRESS, { kernel, open: false }).migratable, null);
  }
});

leakFreeTest("an address in another PCI domain is named, and a missing sysfs is said so", () => {
  const kernel = named();
  addPci(kernel, "10000:e1:00.0", "/sys/devices/pci10000:e0/10000:e1:00.0", 13, "vfio-pci");
  const [reason] = reasonsOf(() => open(kernel, "e1:00.0"));
  assert.equal(reason?.code, "no-such-device");
  assert.match(reason!.hint, /^There is 10000:e1:00\.0, in another PCI domain/);
  for (const opened of [true, false]) {
    const report = probe(ADDRESS, { kernel: new FakeKernel(), open: opened });
    assert.deepEqual(report.reasons.map(({ code }) => code), ["no-sysfs"]);
  }
});
