import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deviceTable } from "../../cli/output/device_table.ts";
import { UnsupportedError } from "../../src/vfio/reasons/unsupported_error.ts";
import { listDevices, type ListedDevice } from "../../src/vfio/list.ts";
import { FakeKernel } from "./_fake_kernel.ts";
import { addMdev, addPci } from "./_fake_vfio.ts";

const PF = "0000:3b:00.0";
const VF = "0000:3b:00.1";
const NIC = "0000:5e:00.0";
const BRIDGE = "0000:00:1f.0";
const UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";

function folderOf(address: string): string {
  return `/sys/devices/pci0000:00/${address}`;
}

/** A machine with a physical function, its virtual one, a plain NIC, a bridge and an mdev. */
function machine(): FakeKernel {
  const kernel = new FakeKernel();
  const add = (address: string, group: number, driver: string | null, pciClass?: string): void =>
    addPci(kernel, address, folderOf(address), group, driver, pciClass);
  kernel.texts.set("/proc/sys/kernel/osrelease", "6.12.0\n");
  kernel.texts.set("/lib/modules/6.12.0/modules.alias", "");
  kernel.texts.set("/lib/modules/6.12.0/modules.builtin.modinfo", "");
  kernel.links.set("/sys/bus/pci/drivers/mlx5_core/module", "/sys/module/mlx5_core");
  add(PF, 11, "mlx5_core");
  kernel.texts.set(`${folderOf(PF)}/sriov_totalvfs`, "8\n");
  kernel.texts.set(`${folderOf(PF)}/sriov_numvfs`, "1\n");
  add(VF, 12, "mlx5_vfio_pci");
  kernel.links.set(`${folderOf(VF)}/physfn`, `../${PF}`);
  kernel.texts.set(`${folderOf(VF)}/vfio-dev/vfio7/dev`, "234:7\n");
  kernel.links.set("/sys/class/vfio-dev/vfio7", `${folderOf(VF)}/vfio-dev/vfio7`);
  kernel.links.set(`${folderOf(VF)}/vfio-dev/vfio7/device`, folderOf(VF));
  kernel.links.set(`${folderOf(VF)}/vfio-dev/vfio7/subsystem`, "/sys/class/vfio-dev");
  for (const node of ["vfio", "11", "12", "13", "14", "devices/vfio7"]) {
    kernel.texts.set(`/dev/vfio/${node}`, "");
  }
  add(NIC, 13, "e1000e");
  add(BRIDGE, 13, "pcieport", "0x060400");
  addMdev(kernel, UUID, { group: 14, driver: "mtty", type: "mtty-1", parent: "mtty" });
  return kernel;
}

function found(kernel: FakeKernel, all = false): Map<string, ListedDevice> {
  const { devices } = listDevices({ kernel, all });
  return new Map(devices.map((device) => [device.device, device]));
}

describe("the list of devices", () => {
  it("has VFIO devices, mdevs, virtual functions and what has them, in this order", () => {
    const kernel = machine();
    const { devices, leftOut } = listDevices({ kernel });
    assert.deepEqual(devices.map(({ device }) => device), [UUID, PF, VF]);
    assert.equal(leftOut, 2);
    const opened = kernel.log.filter((line) => line.startsWith("open "));
    assert.ok(opened.every((line) => line.endsWith("/config")), "only PCI headers are read");
  });

  it("has every device with `all`, and each once", () => {
    const devices = listDevices({ kernel: machine(), all: true });
    assert.equal(devices.leftOut, 0);
    assert.deepEqual(
      devices.devices.map(({ device, reason }) => [device, reason?.code]),
      [
        [UUID, undefined],
        [BRIDGE, "bridge"],
        [PF, "not-bound-to-vfio"],
        [VF, undefined],
        [NIC, "not-bound-to-vfio"],
      ],
    );
  });

  it("prints group, node and the others in the group", () => {
    const devices = found(machine(), true);
    const { group, groupDevices, node, physicalFunction } = devices.get(VF)!;
    assert.deepEqual([group, groupDevices, node, physicalFunction], [
      12,
      [],
      "/dev/vfio/devices/vfio7",
      PF,
    ]);
    assert.deepEqual(devices.get(NIC)!.groupDevices, [BRIDGE]);
    assert.equal(devices.get(NIC)!.node, null, "VFIO has made no node of it");
    assert.equal(devices.get(UUID)!.node, "/dev/vfio/14");
  });

  it("says that a device migrates if debugfs does, and leaves it open otherwise", () => {
    const kernel = machine();
    const open = found(kernel).get(VF)!;
    assert.deepEqual([open.migratable, open.protocol], [null, null]);
    kernel.texts.set(`/sys/kernel/debug/vfio/${VF}/migration/state`, "RUNNING\n");
    const shown = found(kernel).get(VF)!;
    assert.deepEqual([shown.migratable, shown.protocol], [true, "v2"]);
  });

  it("knows the protocol of a driver that Linux has for the device", () => {
    const kernel = machine();
    kernel.texts.set(
      "/lib/modules/6.12.0/modules.alias",
      "alias vfio_pci:v00008086d00001889sv*sd*bc*sc*i* mlx5_vfio_pci\n",
    );
    kernel.links.set("/sys/bus/pci/drivers/mlx5_vfio_pci/module", "/sys/module/mlx5_vfio_pci");
    const { migratable, protocol } = found(kernel).get(VF)!;
    assert.deepEqual([migratable, protocol], [null, "v2"]);
    // A function that Linux has a VFIO driver for is listed, whatever drives it now.
    assert.ok(found(kernel).has(NIC));
  });

  it("says why a device cannot migrate", () => {
    const kernel = machine();
    for (
      const [driver, code] of [
        ["vfio-pci", "needs-variant-driver"],
        ["nvgrace_gpu_vfio_pci", "no-migration"],
        ["ixgbevf", "not-bound-to-vfio"],
      ] as const
    ) {
      kernel.links.set(`${folderOf(VF)}/driver`, `/sys/bus/pci/drivers/${driver}`);
      // VFIO has made a device of it as long as a VFIO driver is bound.
      if (driver === "ixgbevf") {
        const made = `${folderOf(VF)}/vfio-dev/vfio7`;
        kernel.texts.delete(`${made}/dev`);
        for (const link of ["device", "subsystem"]) kernel.links.delete(`${made}/${link}`);
      }
      const { migratable, reason } = found(kernel).get(VF)!;
      assert.deepEqual([migratable, reason?.code], [false, code], driver);
    }
  });

  it("names the processes that have the device or its group open, each once", () => {
    const kernel = machine();
    kernel.texts.set("/proc/77/comm", "qemu-system-x86\n");
    kernel.links.set("/proc/77/fd/9", "/dev/vfio/devices/vfio7");
    // Another mount namespace shows its own /dev as the root of a file system.
    kernel.links.set("/proc/77/fd/10", "/vfio/12");
    kernel.links.set("/proc/9/fd/3", "/dev/vfio/12");
    kernel.links.set("/proc/8/fd/3", "/dev/vfio/vfio");
    const devices = found(kernel);
    assert.deepEqual(devices.get(VF)!.holders, [
      { pid: 9, comm: "" },
      { pid: 77, comm: "qemu-system-x86" },
    ]);
    assert.deepEqual(devices.get(UUID)!.holders, []);
  });

  it("is empty if there is no such device, and an error without sysfs", () => {
    const kernel = new FakeKernel();
    kernel.texts.set("/sys/bus/usb/drivers_probe", "");
    assert.deepEqual(listDevices({ kernel }), { devices: [], leftOut: 0 });
    assert.throws(() => listDevices({ kernel: new FakeKernel() }), (error) => {
      assert.ok(error instanceof UnsupportedError);
      assert.equal(error.reasons[0]?.code, "no-sysfs");
      return true;
    });
  });
});

describe("the table of devices", () => {
  it("has a line for each, virtual functions below their physical one", () => {
    const kernel = machine();
    kernel.links.set("/proc/77/fd/9", "/dev/vfio/12");
    kernel.texts.set("/proc/77/comm", "qemu\n");
    const lines = deviceTable(listDevices({ kernel, all: true }).devices).slice(1)
      .map((line) => line.trimEnd().replaceAll(/ {2,}/g, " | ").slice(3));
    assert.deepEqual(lines, [
      `${UUID} | mdev mtty-1 | mtty | 14 | alone | /dev/vfio/14 | not known`,
      `${BRIDGE} | pci 0x8086:0x1889 | pcieport | 13 | ${NIC} | - | no | bridge`,
      `${PF} | pci 0x8086:0x1889 | mlx5_core | 11 | alone | - | no | not-bound-to-vfio`,
      `${VF} | pci 0x8086:0x1889 | mlx5_vfio_pci | 12 | alone | /dev/vfio/devices/vfio7 | ` +
      "not known | qemu (77)",
      `${NIC} | pci 0x8086:0x1889 | e1000e | 13 | ${BRIDGE} | - | no | not-bound-to-vfio`,
    ]);
  });
});
