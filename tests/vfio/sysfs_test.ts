import assert from "node:assert/strict";
import { it } from "node:test";
import { driverOf } from "../../src/vfio/sysfs/identity.ts";
import { findHolders } from "../../src/vfio/reasons/holders.ts";
import { quirkFor } from "../../src/vfio/device/quirk.ts";
import {
  isVfioBound,
  readCdevDevice,
  readGroupDevices,
  readSysfsDevice,
  type SysfsDevice,
} from "../../src/vfio/sysfs/sysfs.ts";
import { sysfsOfFd } from "../../src/vfio/sysfs/sysfs_of_fd.ts";
import { FakeKernel } from "./_fake_kernel.ts";
import { addMdev, addPci, ADDRESS, FOLDER } from "./_fake_vfio.ts";

const UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";

function pci(driver: string | null, pciClass?: string): SysfsDevice {
  const kernel = new FakeKernel();
  addPci(kernel, ADDRESS, FOLDER, 12, driver, pciClass);
  return readSysfsDevice(kernel, `/sys/bus/pci/devices/${ADDRESS}`)!;
}

it("a PCI function is described through the link of its bus", () => {
  assert.deepEqual(pci("mlx5_vfio_pci"), {
    path: FOLDER,
    name: ADDRESS,
    bus: "pci",
    driver: "mlx5_vfio_pci",
    parentDriver: null,
    group: { number: 12, path: "/dev/vfio/12", noiommu: false },
    mdevType: null,
    ids: {
      vendorId: 0x8086,
      deviceId: 0x1889,
      subsystemVendorId: 0x8086,
      subsystemId: 1,
    },
    pciClass: 0x020000,
    virtualFunction: false,
    physicalFunction: null,
    totalVfs: null,
    numVfs: null,
    vgpuType: null,
    vfioDevices: [],
    cdev: null,
  });
});

it("a virtual function and its VFIO character device are seen", () => {
  const kernel = new FakeKernel();
  addPci(kernel, ADDRESS, FOLDER, 12, "vfio-pci");
  kernel.links.set(`${FOLDER}/physfn`, "../0000:3b:00.0");
  kernel.texts.set(`${FOLDER}/vfio-dev/vfio7/dev`, "234:7\n");
  const device = readSysfsDevice(kernel, FOLDER)!;
  assert.equal(device.virtualFunction, true);
  assert.deepEqual(device.vfioDevices, ["vfio7"]);
  assert.equal(device.cdev, "/dev/vfio/devices/vfio7");
  // Before 6.6 a VFIO device has no number, and so no node.
  kernel.texts.delete(`${FOLDER}/vfio-dev/vfio7/dev`);
  kernel.links.set(`${FOLDER}/vfio-dev/vfio7/device`, FOLDER);
  const { vfioDevices, cdev } = readSysfsDevice(kernel, FOLDER)!;
  assert.deepEqual([vfioDevices, cdev], [["vfio7"], null]);
});

it("a VFIO device's own node leads to the device", () => {
  const kernel = new FakeKernel();
  addPci(kernel, ADDRESS, FOLDER, 12, "vfio-pci");
  kernel.links.set("/sys/class/vfio-dev/vfio7", `${FOLDER}/vfio-dev/vfio7`);
  kernel.links.set(`${FOLDER}/vfio-dev/vfio7/device`, FOLDER);
  assert.equal(readCdevDevice(kernel, "/dev/vfio/devices/vfio7")?.name, ADDRESS);
  for (const path of ["/dev/vfio/devices/vfio8", "/dev/vfio/12", "/dev/vfio/devices/../12", ""]) {
    assert.equal(readCdevDevice(kernel, path), null, path);
  }
});

it("what is not there, or no device, is null", () => {
  const kernel = new FakeKernel();
  kernel.texts.set("/sys/power/state", "mem\n");
  assert.equal(readSysfsDevice(kernel, "/sys/bus/pci/devices/0000:00:00.0"), null);
  assert.equal(readSysfsDevice(kernel, "/sys/power"), null);
  assert.equal(readSysfsDevice(kernel, "/sys/power/state"), null);
});

it("a group without an IOMMU has a node of another name, but an mdev's has not", () => {
  const kernel = new FakeKernel();
  addPci(kernel, ADDRESS, FOLDER, 12, "vfio-pci");
  addMdev(kernel, UUID, { group: 13, driver: "mtty", type: "mtty-1", parent: "mtty" });
  for (const group of [12, 13]) {
    kernel.texts.set(`/sys/kernel/iommu_groups/${group}/name`, "vfio-noiommu\n");
  }
  assert.deepEqual(readSysfsDevice(kernel, FOLDER)?.group, {
    number: 12,
    path: "/dev/vfio/noiommu-12",
    noiommu: true,
  });
  assert.deepEqual(readSysfsDevice(kernel, `/sys/bus/mdev/devices/${UUID}`)?.group, {
    number: 13,
    path: "/dev/vfio/13",
    noiommu: false,
  });
});

it("what VFIO calls a group settles whether there is an IOMMU", () => {
  const kernel = new FakeKernel();
  addPci(kernel, ADDRESS, FOLDER, 12, "vfio-pci");
  kernel.texts.set("/sys/kernel/iommu_groups/12/name", "vfio-noiommu\n");
  const noiommu = (): boolean | undefined => readSysfsDevice(kernel, FOLDER)?.group?.noiommu;
  kernel.texts.set("/sys/class/vfio/12/dev", "240:0\n");
  assert.equal(noiommu(), false, "an emulated device that is on no mdev bus");
  kernel.texts.set("/sys/class/vfio/noiommu-12/dev", "240:1\n");
  assert.equal(noiommu(), true);
});

it("a platform device without ids or group is described as well", () => {
  const kernel = new FakeKernel();
  const path = "/sys/devices/platform/fff51000.ethernet";
  kernel.links.set(`${path}/subsystem`, "../../../bus/platform");
  const device = readSysfsDevice(kernel, path)!;
  assert.deepEqual([device.bus, device.driver, device.group, device.ids, device.mdevType], [
    "platform",
    null,
    null,
    null,
    null,
  ]);
  assert.equal(isVfioBound(device), false);
});

it("VFIO drivers are recognised by name, by character device, or by the mdev bus", () => {
  assert.equal(isVfioBound(pci("vfio-pci")), true);
  assert.equal(isVfioBound(pci("mlx5_vfio_pci")), true);
  assert.equal(isVfioBound(pci("ice")), false);
  // A word of a name, and not a part of one.
  assert.equal(isVfioBound(pci("vfiokit_host")), false);
  assert.equal(isVfioBound(pci("xe-vfio-pci")), true);
  assert.equal(isVfioBound(pci(null)), false);
  assert.equal(isVfioBound({ ...pci("custom"), vfioDevices: ["vfio0"] }), true);
  assert.equal(isVfioBound({ ...pci("mtty"), bus: "mdev" }), true);
});

it("an mdev's generic driver gives way to that of its parent", () => {
  const kernel = new FakeKernel();
  addMdev(kernel, UUID, { group: 3, driver: "vfio_mdev", type: "nvidia-63", parent: "nvidia" });
  const device = readSysfsDevice(kernel, `/sys/bus/mdev/devices/${UUID}`)!;
  assert.equal(device.driver, "vfio_mdev");
  assert.equal(driverOf(device), "nvidia");
  assert.equal(driverOf({ ...device, driver: "nvidia-vgpu-vfio" }), "nvidia-vgpu-vfio");
  assert.equal(driverOf({ ...device, parentDriver: null }), "vfio_mdev");
});

it("quirk profiles go by driver or mdev type, and the rest has none", () => {
  assert.equal(quirkFor({ driver: "ice_vfio_pci", mdevType: null }), "ice");
  assert.equal(quirkFor({ driver: "nvidia_vgpu_vfio", mdevType: null }), "nvidia-vgpu");
  assert.equal(quirkFor({ driver: "nvidia", mdevType: "nvidia-63" }), "nvidia-vgpu");
  assert.equal(quirkFor({ driver: "vfio-pci", mdevType: null }), null);
  assert.equal(quirkFor({ driver: null, mdevType: null }), null);
});

it("the devices of a group are listed, and one that just went is left out", () => {
  const kernel = new FakeKernel();
  addPci(kernel, ADDRESS, FOLDER, 12, "vfio-pci");
  kernel.links.set("/sys/kernel/iommu_groups/12/devices/0000:3b:00.2", "/sys/devices/gone");
  assert.deepEqual(readGroupDevices(kernel, 12).map(({ name }) => name), [ADDRESS]);
  assert.deepEqual(readGroupDevices(kernel, 99), []);
});

it("holders are found through /proc, and processes that cannot be seen are passed over", () => {
  const kernel = new FakeKernel();
  kernel.links.set("/proc/4242/fd/7", "/dev/vfio/12");
  kernel.links.set("/proc/4242/fd/8", "/dev/vfio/12");
  kernel.texts.set("/proc/4242/comm", "qemu-system-x86\n");
  kernel.links.set("/proc/99/fd/3", "/dev/vfio/devices/vfio0");
  kernel.links.set("/proc/100/fd/3", "/dev/vfio/13");
  kernel.texts.set("/proc/101/comm", "hidden\n");
  kernel.links.set("/proc/self", "/proc/4242");
  assert.deepEqual(findHolders(kernel, ["/dev/vfio/12", "/dev/vfio/devices/vfio0"]), [
    { pid: 99, comm: "" },
    { pid: 4242, comm: "qemu-system-x86" },
  ]);
  assert.deepEqual(findHolders(new FakeKernel(), ["/dev/vfio/12"]), []);
  // A container's /dev is a file system of its own.
  kernel.links.set("/proc/77/fd/5", "/vfio/99");
  assert.deepEqual(findHolders(kernel, ["/dev/vfio/99"]), [{ pid: 77, comm: "" }]);
});

it("a bare fd is found by its fdinfo, or in its group by its ids, or not at all", () => {
  const kernel = new FakeKernel();
  addPci(kernel, ADDRESS, FOLDER, 12, "vfio-pci");
  const ids = readSysfsDevice(kernel, FOLDER)!.ids!;
  assert.equal(sysfsOfFd(kernel, 3, null, ids), null);
  assert.equal(sysfsOfFd(kernel, 3, 12, null)?.name, ADDRESS);
  assert.equal(sysfsOfFd(kernel, 3, 12, { ...ids, deviceId: 0xdead }), null);

  addPci(kernel, "0000:3b:00.2", "/sys/devices/pci0000:3a/0000:3b:00.2", 12, "vfio-pci");
  assert.equal(sysfsOfFd(kernel, 3, 12, ids), null, "two of a kind in one group");

  kernel.texts.set(
    "/proc/self/fdinfo/3",
    `pos:\t0\nflags:\t02000002\nvfio-device-syspath: ${FOLDER}\n`,
  );
  assert.equal(sysfsOfFd(kernel, 3, null, null)?.name, ADDRESS);
});
