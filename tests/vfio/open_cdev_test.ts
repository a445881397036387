import assert from "node:assert/strict";
import type { ErrnoName } from "../../src/kernel/errno_names.ts";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { O_RDWR } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  IOMMU_IOAS_ALLOC,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_GET_INFO,
} from "../../src/uapi/mod.ts";
import { openVfioDevice, type OpenVfioOptions } from "../../src/vfio/open/open.ts";
import { openVfioDevices } from "../../src/vfio/open/open_several.ts";
import { parseDeviceName } from "../../src/vfio/open/device_name.ts";
import { BusyError, type Reason } from "../../src/vfio/reasons/unsupported_error.ts";
import { CDEV_PATH, fakeCdev } from "./_fake_cdev.ts";
import type { FakeKernel } from "./_fake_kernel.ts";
import { addPci, ADDRESS, FOLDER, GROUP_PATH } from "./_fake_vfio.ts";
import { leakFreeTest } from "./_leak_free.ts";
import { codesOf, open, reasonsOf } from "./_open_fake.ts";

const TOKEN = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3";
const CDEV: OpenVfioOptions = { via: "cdev" };

function failing(request: number, errno: ErrnoName): FakeKernel {
  return fakeCdev({ failing: new Map([[request, errno]]) }).kernel;
}

/** Opens it by its group though it has a node, and why. */
function insteadOfCdev(kernel: FakeKernel, options?: OpenVfioOptions): Reason {
  using device = open(kernel, ADDRESS, options);
  assert.equal(device.via, "group");
  assert.notEqual(device.container, null);
  assert.equal(device.ioas, null);
  return device.whyNotCdev!;
}

leakFreeTest(
  "a device is bound and attached in the kernel's order, and closed in the other",
  () => {
    const { kernel } = fakeCdev();
    const device = open(kernel);
    assert.equal(device.via, "cdev");
    assert.equal(device.whyNotCdev, null);
    assert.deepEqual([device.group, device.container], [null, null]);
    assert.equal(device.ioas?.id, 1);
    assert.equal(device.space, device.ioas);
    assert.equal(device.sysfs?.driver, "ice-vfio-pci");
    device.close();
    device.close();
    assert.deepEqual(kernel.log, [
      "open /dev/iommu",
      `open ${CDEV_PATH}`,
      "bind argsz 16",
      "attach 1",
      "close 11",
      "destroy 1",
      "close 10",
    ]);
  },
);

leakFreeTest("by its group it is opened if that is asked for", () => {
  const { kernel } = fakeCdev();
  using device = open(kernel, ADDRESS, { via: "group" });
  assert.deepEqual([device.via, device.whyNotCdev], ["group", null]);
  assert.equal(kernel.log[0], "open /dev/vfio/vfio");
});

leakFreeTest("what was opened is closed whichever step fails", () => {
  for (
    const request of [
      IOMMU_IOAS_ALLOC,
      VFIO_DEVICE_BIND_IOMMUFD,
      VFIO_DEVICE_ATTACH_IOMMUFD_PT,
      VFIO_DEVICE_GET_INFO,
    ]
  ) {
    const kernel = failing(request, "EIO");
    const opening = (): unknown => open(kernel, ADDRESS, CDEV);
    assert.throws(opening, (error) => isErrno((error as Error).cause, "EIO"));
    assert.equal(kernel.fds.size, 0);
  }
});

leakFreeTest("if the kernel has no such way, it is opened by its group", () => {
  const cases: [code: string, (kernel: FakeKernel) => void][] = [
    ["no-iommufd", (kernel) => kernel.nodes.delete("/dev/iommu")],
    ["no-iommufd", (kernel) => kernel.nodes.set("/dev/iommu", "ENODEV")],
    ["no-permission", (kernel) => kernel.nodes.set("/dev/iommu", "EACCES")],
    ["no-cdev", (kernel) => kernel.texts.delete(`${FOLDER}/vfio-dev/vfio7/dev`)],
    ["no-cdev-node", (kernel) => kernel.nodes.delete(CDEV_PATH)],
    ["no-permission", (kernel) => kernel.nodes.set(CDEV_PATH, "EACCES")],
  ];
  for (const [code, change] of cases) {
    const { kernel } = fakeCdev();
    change(kernel);
    assert.equal(insteadOfCdev(kernel).code, code);
    assert.equal(kernel.fds.size, 0);
    // Where that is not to be, it is the reason, and says what to do.
    const [reason, ...more] = reasonsOf(() => open(kernel, ADDRESS, CDEV));
    assert.deepEqual([reason?.code, more], [code, []]);
    assert.notEqual(reason?.hint, "");
    assert.equal(kernel.fds.size, 0);
  }
});

leakFreeTest(
  "if the group cannot be opened either, the fault of the node is reported",
  () => {
    const { kernel } = fakeCdev();
    kernel.nodes.set(CDEV_PATH, "EACCES");
    kernel.nodes.set(GROUP_PATH, "EACCES");
    const [group, node] = reasonsOf(() => open(kernel));
    assert.match(group!.message, /^Cannot open \/dev\/vfio\/12: EACCES/);
    assert.match(node!.message, /^Cannot open \/dev\/vfio\/devices\/vfio7: EACCES/);
    assert.match(node!.hint, /chown \$USER \/dev\/vfio\/devices\/vfio7/);
    // That a kernel has no such nodes is nothing amiss.
    kernel.nodes.delete("/dev/iommu");
    assert.deepEqual(codesOf(() => open(kernel)), ["no-permission"]);
  },
);

leakFreeTest("a refusal to bind or attach says what it may be, and the group is tried", () => {
  const cases: [request: number, errno: ErrnoName, code: string, message: RegExp][] = [
    [
      VFIO_DEVICE_BIND_IOMMUFD,
      "EINVAL",
      "cdev-refused",
      /which of 2 causes it has .*\(2\) The device's driver/,
    ],
    [VFIO_DEVICE_BIND_IOMMUFD, "ENODEV", "device-gone", /BIND_IOMMUFD of .* answers ENODEV: /],
    [VFIO_DEVICE_BIND_IOMMUFD, "ENOTTY", "cdev-refused", /does not know the request/],
    [VFIO_DEVICE_ATTACH_IOMMUFD_PT, "EINVAL", "no-domain", /ATTACH_IOMMUFD_PT of .* EINVAL: /],
    [VFIO_DEVICE_ATTACH_IOMMUFD_PT, "ENODEV", "no-domain", /has no address space/],
    [VFIO_DEVICE_ATTACH_IOMMUFD_PT, "EOPNOTSUPP", "no-domain", /has no address space/],
  ];
  for (const [request, errno, code, message] of cases) {
    const kernel = failing(request, errno);
    const reason = insteadOfCdev(kernel);
    assert.equal(reason.code, code);
    assert.match(reason.message, message);
    assert.equal(codesOf(() => open(kernel, ADDRESS, CDEV))[0], code);
    assert.equal(kernel.fds.size, 0);
  }
});

leakFreeTest("a device in use is busy, and the error names the process", () => {
  const holders = (kernel: FakeKernel): unknown => {
    try {
      open(kernel, ADDRESS).close();
    } catch (error) {
      assert.ok(error instanceof BusyError, String(error));
      assert.equal(kernel.fds.size, 0);
      return error.holders;
    }
    return "opened";
  };
  // Its group is open.
  const group = failing(VFIO_DEVICE_BIND_IOMMUFD, "EBUSY");
  group.links.set("/proc/4242/fd/9", GROUP_PATH);
  group.texts.set("/proc/4242/comm", "qemu\n");
  assert.deepEqual(holders(group), [{ pid: 4242, comm: "qemu" }]);
  assert.deepEqual(holders(failing(VFIO_DEVICE_BIND_IOMMUFD, "EBUSY")), []);
  // It is open by its node: Linux says EINVAL then.
  const node = failing(VFIO_DEVICE_BIND_IOMMUFD, "EINVAL");
  node.links.set("/proc/4243/fd/9", CDEV_PATH);
  assert.deepEqual(holders(node), [{ pid: 4243, comm: "" }]);
  // Nobody can be seen, and the group is busy.
  const unseen = failing(VFIO_DEVICE_BIND_IOMMUFD, "EINVAL");
  unseen.nodes.set(GROUP_PATH, "EBUSY");
  assert.deepEqual(holders(unseen), []);
  // Another device of the group is bound to somebody else's iommufd.
  const sibling = failing(VFIO_DEVICE_BIND_IOMMUFD, "EPERM");
  const folder = "/sys/devices/pci0000:3a/0000:3b:00.2";
  addPci(sibling, "0000:3b:00.2", folder, 12, "ice-vfio-pci");
  sibling.texts.set(`${folder}/vfio-dev/vfio8/dev`, "511:8\n");
  sibling.links.set("/proc/4244/fd/9", "/dev/vfio/devices/vfio8");
  assert.deepEqual(holders(sibling), [{ pid: 4244, comm: "" }]);
});

leakFreeTest("EPERM is a host driver in the group, or interrupts that are not remapped", () => {
  const kernel = failing(VFIO_DEVICE_BIND_IOMMUFD, "EPERM");
  const [unsafe] = reasonsOf(() => open(kernel, ADDRESS, CDEV));
  assert.equal(unsafe?.code, "unsafe-interrupts");
  assert.match(unsafe!.hint, /^Turn interrupt remapping on.*\/sys\/module\/iommufd\/parameters/);
  // vfio_iommu_type1 has an option of its own, and may allow it.
  assert.equal(insteadOfCdev(kernel).code, "unsafe-interrupts");

  addPci(kernel, "0000:3b:00.0", "/sys/devices/pci0000:3a/0000:3b:00.0", 12, "ice");
  const [spoiled] = reasonsOf(() => open(kernel, ADDRESS, CDEV));
  assert.match(spoiled!.message, /IOMMU group 12 is not viable: held by 0000:3b:00\.0 \(ice\)/);
});

leakFreeTest(
  "a VF token is passed with BIND if the kernel takes it there, else by the group",
  () => {
    const { kernel, tokens } = fakeCdev();
    open(kernel, ADDRESS, { vfToken: TOKEN.toUpperCase() }).close();
    assert.deepEqual(tokens, [TOKEN.replaceAll("-", "")]);
    assert.ok(kernel.log.includes("bind argsz 24"));

    const old = failing(VFIO_DEVICE_BIND_IOMMUFD, "EINVAL");
    old.texts.set("/proc/sys/kernel/osrelease", "6.12.48-amd64\n");
    assert.equal(insteadOfCdev(old, { vfToken: TOKEN }).code, "vf-token");
    assert.ok(old.log.includes(`device ${ADDRESS} vf_token=${TOKEN}`));
    const [reason] = reasonsOf(() => open(old, ADDRESS, { ...CDEV, vfToken: TOKEN }));
    assert.match(reason!.hint, /from 6\.17 on/);

    const refusing = failing(VFIO_DEVICE_BIND_IOMMUFD, "EACCES");
    addPci(refusing, "0000:3b:00.0", "/sys/devices/pci0000:3a/0000:3b:00.0", 11, "vfio-pci");
    refusing.links.set(`${FOLDER}/physfn`, "/sys/devices/pci0000:3a/0000:3b:00.0");
    const message = (vfToken?: string): string =>
      reasonsOf(() => open(refusing, ADDRESS, { vfToken }))[0]!.message;
    assert.equal(message(), `${ADDRESS} wants a VF token`);
    assert.equal(message(TOKEN), `The VF token for ${ADDRESS} is not the right one`);
    // Before 6.17 BIND asks for no token, and EACCES is a device that cannot be woken.
    refusing.texts.set("/proc/sys/kernel/osrelease", "6.12.48\n");
    assert.deepEqual(codesOf(() => open(refusing, ADDRESS, CDEV)), ["no-power"]);
    assert.throws(() => open(kernel, ADDRESS, { vfToken: "x" }), { name: "DeviceNameError" });
    assert.equal(kernel.fds.size, 0);
  },
);

leakFreeTest("a device without an IOMMU group is opened by its node, if it has one", () => {
  const { kernel } = fakeCdev();
  kernel.links.delete(`${FOLDER}/iommu_group`);
  {
    using device = open(kernel);
    assert.deepEqual([device.via, device.sysfs?.group], ["cdev", null]);
  }
  assert.deepEqual(codesOf(() => open(kernel, ADDRESS, { via: "group" })), ["no-iommu-group"]);
  // Without a node, that it has none is told as well where only that way is allowed.
  kernel.texts.delete(`${FOLDER}/vfio-dev/vfio7/dev`);
  assert.deepEqual(codesOf(() => open(kernel)), ["no-iommu-group"]);
  assert.deepEqual(codesOf(() => open(kernel, ADDRESS, CDEV)), ["no-cdev"]);
  assert.equal(kernel.fds.size, 0);
});

leakFreeTest("a simulated device is opened by its node, and its group is busy as long", () => {
  const kernel = new SimKernel("trapped?cdev=1");
  const name = parseDeviceName(kernel.devices[0]!.path);
  {
    using device = openVfioDevice(kernel, name);
    assert.equal(device.via, "cdev");
    assert.throws(() => openVfioDevice(kernel, name), BusyError);
    assert.throws(() => openVfioDevice(kernel, name, { via: "group" }), BusyError);
    device.reset();
  }
  {
    using device = openVfioDevice(kernel, name, { via: "group" });
    assert.throws(() => openVfioDevice(kernel, name), BusyError);
    assert.equal(device.via, "group");
  }
  assert.deepEqual(kernel.openObjects, []);
});

leakFreeTest("a node that is bound can be borrowed; one that is not says so", () => {
  const kernel = new SimKernel("mlx5?cdev=1");
  using owner = openVfioDevice(kernel, parseDeviceName(kernel.devices[0]!.path));
  const fd = owner.fd.number;
  using borrowed = openVfioDevice(kernel, { kind: "fd", fd });
  assert.deepEqual([borrowed.borrowed, borrowed.via, borrowed.space], [true, "cdev", null]);
  assert.equal(borrowed.sysfs?.name, owner.sysfs?.name);
  const { iommufd, id } = owner.ioas!;
  using mapped = openVfioDevice(kernel, { kind: "fd", fd }, {
    iommufdFd: iommufd.fd.number,
    ioasId: id,
  });
  assert.equal(mapped.ioas?.owned, false);
  assert.deepEqual(mapped.space?.info(), owner.space?.info());
  assert.throws(
    () => openVfioDevice(kernel, { kind: "fd", fd }, { iommufdFd: iommufd.fd.number }),
    /without the id of the IOAS/,
  );

  const unbound = kernel.open("/dev/vfio/devices/vfio0", O_RDWR);
  const [reason] = reasonsOf(() => openVfioDevice(kernel, { kind: "fd", fd: unbound }));
  assert.equal(reason?.code, "cdev-not-bound");
  assert.match(reason!.message, /^fd \d+ is \/dev\/vfio\/devices\/vfio0, and not bound/);
  kernel.close(unbound);
});

leakFreeTest("several devices share an iommufd, and those of one group an IOAS", () => {
  const kernel = new SimKernel("mapped?cdev=1", "trapped");
  const names = kernel.devices.map(({ path }) => parseDeviceName(path));
  const devices = openVfioDevices(kernel, names);
  const [first, second] = devices.map(({ ioas }) => ioas!);
  assert.equal(first!.iommufd, second!.iommufd);
  assert.notEqual(first!.id, second!.id);
  for (const device of devices.reverse()) device.close();
  assert.deepEqual(kernel.openObjects, []);

  const fake = fakeCdev().kernel;
  const folder = "/sys/devices/pci0000:3a/0000:3b:00.2";
  addPci(fake, "0000:3b:00.2", folder, 12, "ice-vfio-pci");
  fake.texts.set(`${folder}/vfio-dev/vfio8/dev`, "511:8\n");
  fake.nodes.set("/dev/vfio/devices/vfio8", fake.nodes.get(CDEV_PATH)!);
  const siblings = openVfioDevices(fake, [ADDRESS, "0000:3b:00.2"].map(parseDeviceName));
  assert.equal(siblings[0]!.ioas, siblings[1]!.ioas);
  for (const device of siblings.reverse()) device.close();
  assert.equal(fake.fds.size, 0);
  assert.deepEqual(fake.log.filter((line) => line.startsWith("destroy")), ["destroy 1"]);
});

leakFreeTest("several devices by their groups, if that is asked for", () => {
  const kernel = new SimKernel("mapped?cdev=1", "trapped");
  const names = kernel.devices.map(({ path }) => parseDeviceName(path));
  const devices = openVfioDevices(kernel, names, { via: "group" });
  assert.deepEqual(devices.map(({ via }) => via), ["group", "group"]);
  for (const device of devices.reverse()) device.close();
  assert.deepEqual(kernel.openObjects, []);
});
