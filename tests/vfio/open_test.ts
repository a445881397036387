import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/sys_error.ts";
import type { ErrnoName } from "../../src/kernel/errno_names.ts";
import { Fd } from "../../src/kernel/fd.ts";
import { O_RDWR } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_DEVICE_GET_INFO,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_SET_IOMMU,
} from "../../src/uapi/mod.ts";
import { parseDeviceName } from "../../src/vfio/open/device_name.ts";
import { openVfioDevice, openWith } from "../../src/vfio/open/open.ts";
import { BusyError } from "../../src/vfio/reasons/unsupported_error.ts";
import type { FakeKernel } from "./_fake_kernel.ts";
import { addPci, ADDRESS, fakeVfio, FOLDER, GROUP_PATH } from "./_fake_vfio.ts";
import { codesOf, open, reasonsOf } from "./_open_fake.ts";
import { leakFreeTest } from "./_leak_free.ts";

const TOKEN = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3";

leakFreeTest("a PCI device is opened in the kernel's order and closed in the other", () => {
  const kernel = fakeVfio();
  const device = open(kernel);
  assert.equal(device.label, ADDRESS);
  assert.equal(device.borrowed, false);
  assert.equal(device.resettable, true);
  assert.equal(device.group?.number, 12);
  assert.equal(device.sysfs?.driver, "ice-vfio-pci");
  assert.deepEqual(device.identity(), {
    bus: "pci",
    driver: "ice-vfio-pci",
    vendorId: 0x8086,
    deviceId: 0x1889,
    subsystemVendorId: 0x8086,
    subsystemId: 1,
    mdevType: null,
  });
  device.close();
  device.close();
  assert.deepEqual(kernel.log, [
    "open /dev/vfio/vfio",
    `open ${GROUP_PATH}`,
    `device ${ADDRESS}`,
    "close 12",
    "close 11",
    "close 10",
  ]);
});

leakFreeTest("a sysfs path names the device that it leads to", () => {
  using device = open(fakeVfio(), `/sys/bus/pci/devices/${ADDRESS}`);
  assert.equal(device.label, ADDRESS);
});

leakFreeTest("group and container are closed though the device's fd was closed before", () => {
  const kernel = fakeVfio();
  const device = open(kernel);
  kernel.close(device.fd.number);
  assert.throws(() => device.close(), { name: "SysError", code: "EBADF" });
  assert.equal(kernel.fds.size, 0);
});

leakFreeTest("what was opened is closed whichever step fails", () => {
  const requests = [
    VFIO_GROUP_GET_STATUS,
    VFIO_GROUP_SET_CONTAINER,
    VFIO_SET_IOMMU,
    VFIO_GROUP_GET_DEVICE_FD,
    VFIO_DEVICE_GET_INFO,
  ];
  for (const request of requests) {
    const kernel = fakeVfio({ failing: new Map([[request, "EIO"]]) });
    assert.throws(() => open(kernel), (error) => isErrno((error as Error).cause, "EIO"));
    assert.equal(kernel.fds.size, 0);
  }
});

leakFreeTest("a device that is not there says where it was looked for", () => {
  const [reason] = reasonsOf(() => open(fakeVfio(), "0000:00:1f.6"));
  assert.equal(reason?.code, "no-such-device");
  assert.match(reason!.message, /"0000:00:1f\.6".*\/sys\/bus\/pci\/devices\/0000:00:1f\.6/);
  assert.equal(reason?.hint, "See what there is: ls /sys/bus/pci/devices");
});

leakFreeTest("a device that another driver has says which, and how to bind it", () => {
  const kernel = fakeVfio();
  kernel.links.set(`${FOLDER}/driver`, "/sys/bus/pci/drivers/iavf");
  kernel.nodes.delete(GROUP_PATH);
  const reasons = reasonsOf(() => open(kernel));
  assert.deepEqual(reasons.map(({ code }) => code), ["not-bound-to-vfio"]);
  assert.match(reasons[0]!.message, /bound to the driver "iavf", which is not a VFIO driver/);
  assert.match(reasons[0]!.hint, /driver_override && echo 0000:3b:00\.1 > .*\/driver\/unbind &&/);

  kernel.links.delete(`${FOLDER}/driver`);
  const [unbound] = reasonsOf(() => open(kernel));
  assert.match(unbound!.message, /No driver is bound/);
  assert.doesNotMatch(unbound!.hint, /unbind/);
});

leakFreeTest("a group that other drivers hold says which devices spoil it", () => {
  const kernel = fakeVfio({ groupFlags: 0 });
  addPci(kernel, "0000:3b:00.0", "/sys/devices/pci0000:3a/0000:3b:00.0", 12, "ice");
  addPci(kernel, "0000:3a:00.0", "/sys/devices/0000:3a:00.0", 12, "pcieport", "0x060400");
  const [reason] = reasonsOf(() => open(kernel));
  assert.equal(reason?.code, "group-not-viable");
  assert.equal(reason?.message, "IOMMU group 12 is not viable: held by 0000:3b:00.0 (ice)");
  assert.equal(kernel.fds.size, 0);

  // A driver that took a device after the status was read shows when the container is set.
  const late = (errno: ErrnoName): FakeKernel =>
    fakeVfio({ failing: new Map([[VFIO_GROUP_SET_CONTAINER, errno]]) });
  assert.deepEqual(codesOf(() => open(late("EPERM"))), ["group-not-viable"]);
  // From 5.18 on a driver's own address space in the group is EBUSY, and a driver is EPERM.
  assert.deepEqual(codesOf(() => open(late("EBUSY"))), ["dma-in-use"]);
});

leakFreeTest("a group in use is busy, and the error names the process", () => {
  const kernel = fakeVfio();
  kernel.nodes.set(GROUP_PATH, "EBUSY");
  kernel.texts.set(`${FOLDER}/vfio-dev/vfio7/dev`, "234:7\n");
  kernel.links.set("/proc/4242/fd/9", "/dev/vfio/devices/vfio7");
  kernel.texts.set("/proc/4242/comm", "qemu\n");
  assert.throws(() => open(kernel), (error) => {
    assert.ok(error instanceof BusyError);
    assert.deepEqual(error.holders, [{ pid: 4242, comm: "qemu" }]);
    assert.equal(error.message, `Cannot open group ${GROUP_PATH}: in use by qemu (pid 4242)`);
    return true;
  });
  assert.equal(kernel.fds.size, 0);
});

leakFreeTest("missing groups, IOMMUs, nodes and permissions are separate reasons", () => {
  const cases: [string, (kernel: FakeKernel) => void][] = [
    ["no-iommu-group", (kernel) => kernel.links.delete(`${FOLDER}/iommu_group`)],
    [
      "noiommu-group",
      (kernel) => kernel.texts.set("/sys/kernel/iommu_groups/12/name", "vfio-noiommu\n"),
    ],
    ["no-group-node", (kernel) => kernel.nodes.delete(GROUP_PATH)],
    ["no-permission", (kernel) => kernel.nodes.set(GROUP_PATH, "EACCES")],
    ["no-permission", (kernel) => kernel.nodes.set("/dev/vfio/vfio", "EPERM")],
    ["no-vfio", (kernel) => kernel.nodes.set("/dev/vfio/vfio", "ENODEV")],
  ];
  for (const [code, change] of cases) {
    const kernel = fakeVfio();
    change(kernel);
    const [reason, ...more] = reasonsOf(() => open(kernel));
    assert.equal(reason?.code, code);
    assert.notEqual(reason?.hint, "");
    assert.deepEqual(more, []);
    assert.equal(kernel.fds.size, 0);
  }
});

leakFreeTest("a group that does not have the device says so", () => {
  assert.deepEqual(codesOf(() => open(fakeVfio({ devices: [] }))), ["not-in-group"]);
});

leakFreeTest(
  "a VF token goes behind the name, and a refused one is told from a missing one",
  () => {
    const kernel = fakeVfio();
    open(kernel, ADDRESS, { vfToken: TOKEN.toUpperCase() }).close();
    assert.ok(kernel.log.includes(`device ${ADDRESS} vf_token=${TOKEN}`));

    const failing = (errno: "EACCES" | "EINVAL", pfDriver: string): FakeKernel => {
      const kernel = fakeVfio({ failing: new Map([[VFIO_GROUP_GET_DEVICE_FD, errno]]) });
      const pf = "/sys/devices/pci0000:3a/0000:3b:00.0";
      addPci(kernel, "0000:3b:00.0", pf, 11, pfDriver);
      kernel.links.set(`${FOLDER}/physfn`, pf);
      return kernel;
    };
    const message = (kernel: FakeKernel, vfToken?: string): string =>
      reasonsOf(() => open(kernel, ADDRESS, { vfToken }))[0]!.message;
    const wanted = failing("EACCES", "vfio-pci");
    assert.equal(message(wanted), `${ADDRESS} wants a VF token`);
    assert.equal(message(wanted, TOKEN), `The VF token for ${ADDRESS} is not the right one`);
    assert.equal(
      message(failing("EINVAL", "ice"), TOKEN),
      `${ADDRESS} does not take a VF token`,
    );
    // The same errno of a function that no token is asked for has another cause.
    assert.match(message(failing("EACCES", "ice")), /cannot be woken/);
    assert.throws(() => open(kernel, ADDRESS, { vfToken: "x" }), { name: "DeviceNameError" });
    assert.equal(kernel.fds.size, 0);
  },
);

leakFreeTest("the running kernel is asked the same way", () => {
  const kernel = libcKernel();
  using fd = Fd.own(kernel, kernel.open("/dev/null", O_RDWR), "/dev/null");
  const { number } = fd;
  assert.deepEqual(
    reasonsOf(() => openVfioDevice(kernel, { kind: "fd", fd: number })).map(({ code }) => code),
    ["not-a-vfio-device"],
  );
  assert.deepEqual(
    reasonsOf(() => openVfioDevice(kernel, parseDeviceName("ffff:ff:1f.7"))).map(({ code }) =>
      code
    ),
    ["no-such-device"],
  );
});

leakFreeTest("one group yields several devices, each closed by itself", () => {
  const other = "0000:3b:00.2";
  const kernel = fakeVfio({ devices: [ADDRESS, other] });
  addPci(kernel, other, "/sys/devices/pci0000:3a/0000:3b:00.2", 12, "ice-vfio-pci");
  using first = open(kernel);
  const { group, container } = first;
  const shared = { group: group!, container: container! };
  const second = openWith(kernel, parseDeviceName(other), {}, shared);
  assert.equal(second.label, other);
  second.close();
  assert.equal(group!.status().viable, true);
});

leakFreeTest("a simulated device is opened by its spec, by its UUID, and once at a time", () => {
  const kernel = new SimKernel("mapped", "ice");
  {
    using device = openVfioDevice(kernel, parseDeviceName("sim:mapped"));
    assert.equal(device.label, kernel.devices[0]!.path);
    assert.throws(() => openVfioDevice(kernel, parseDeviceName(device.label)), BusyError);
    using other = openVfioDevice(kernel, parseDeviceName(kernel.devices[1]!.path));
    assert.equal(other.identity().driver, "ice-vfio-pci");
    device.reset();
  }
  assert.deepEqual(kernel.openObjects, []);
  assert.deepEqual(kernel.devices.flatMap(({ violations }) => violations), []);
  assert.throws(
    () => openVfioDevice(fakeVfio(), parseDeviceName("sim:mapped")),
    { name: "DeviceNameError" },
  );
});

for (const [query, late] of [["", "node"], ["", "device"], ["&cdev=1", "node"]] as const) {
  leakFreeTest(
    `a ${late} that comes a while after its driver was bound is waited for${query && ", by cdev"}`,
    () => {
      const kernel = new SimKernel(`trapped?size=64KiB&fault=${late}-late:4${query}`);
      using device = openVfioDevice(kernel, parseDeviceName(kernel.devices[0]!.path));
      assert.equal(device.via, query === "" ? "group" : "cdev");
    },
  );
}

leakFreeTest(
  "what does not come is given up, and not waited for if no VFIO driver is bound",
  () => {
    const kernel = new SimKernel("trapped?size=64KiB&fault=device-late:1000");
    const name = parseDeviceName(kernel.devices[0]!.path);
    assert.deepEqual(codesOf(() => openVfioDevice(kernel, name)), ["not-in-group"]);
    assert.deepEqual(kernel.openObjects, []);

    let opened = 0;
    const unbound = fakeVfio();
    unbound.links.set(`${FOLDER}/driver`, "/sys/bus/pci/drivers/iavf");
    const open_ = unbound.open.bind(unbound);
    unbound.nodes.delete(GROUP_PATH);
    unbound.open = (path) => {
      if (path === GROUP_PATH) opened += 1;
      return open_(path);
    };
    assert.deepEqual(codesOf(() => open(unbound)), ["not-bound-to-vfio"]);
    assert.equal(opened, 1);
  },
);
