import assert from "node:assert/strict";
import { it } from "node:test";
import {
  DeviceNameError,
  formatDeviceName,
  parseDeviceName,
  parseVfToken,
} from "../../src/vfio/open/device_name.ts";

const UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";

it("a PCI address is read with and without its domain, in either case", () => {
  assert.deepEqual(parseDeviceName("0000:3b:00.1"), { kind: "pci", address: "0000:3b:00.1" });
  assert.deepEqual(parseDeviceName("3B:1F.7"), { kind: "pci", address: "0000:3b:1f.7" });
  assert.deepEqual(parseDeviceName("10000:e1:00.0"), { kind: "pci", address: "10000:e1:00.0" });
});

it("an mdev UUID, a sysfs path, an fd and a simulated device are read", () => {
  assert.deepEqual(parseDeviceName(UUID.toUpperCase()), { kind: "mdev", uuid: UUID });
  const path = "/sys/bus/platform/devices/fff51000.ethernet";
  assert.deepEqual(parseDeviceName(path), { kind: "sysfs", path });
  assert.deepEqual(parseDeviceName("fd:0"), { kind: "fd", fd: 0 });
  assert.deepEqual(parseDeviceName("fd:2147483647"), { kind: "fd", fd: 0x7fff_ffff });
  assert.deepEqual(parseDeviceName("sim:mapped?size=1MiB"), {
    kind: "sim",
    spec: "mapped?size=1MiB",
  });
});

it("what VFIO made of a device names it: by its name, its node, its folder", () => {
  for (const text of ["vfio7", "/dev/vfio/devices/vfio7", "/sys/class/vfio-dev/vfio7"]) {
    const name = parseDeviceName(text);
    assert.deepEqual(name, { kind: "vfio", name: "vfio7" });
    assert.equal(formatDeviceName(name), "vfio7");
  }
});

it("a group is understood by its node and its folders, to say that it is no device", () => {
  for (
    const path of [
      "/dev/vfio/12",
      "/dev/vfio/noiommu-12",
      "/sys/class/vfio/12",
      "/sys/kernel/iommu_groups/12",
    ]
  ) assert.deepEqual(parseDeviceName(path), { kind: "group", number: 12, path });
});

it("what is none of these is refused, and quoted", () => {
  const wrong = [
    "",
    "0000:3b:00.8",
    "0000:3b:20.0",
    "3b:00",
    "0000:3b:00.1 ",
    "/dev/vfio/vfio",
    "/dev/iommu",
    "/dev/vfio/devices/12",
    "vfio",
    "vfio7x",
    "/sys",
    "fd:",
    "fd:-1",
    "fd:3x",
    "fd:2147483648",
    "fd:99999999999",
    `${UUID}0`,
    "SIM:mapped",
  ];
  for (const text of wrong) {
    assert.throws(
      () => parseDeviceName(text),
      (error) => error instanceof DeviceNameError && error.message.includes(JSON.stringify(text)),
    );
  }
});

it("a name comes out as it went in", () => {
  for (const text of ["0000:3b:00.1", UUID, "/sys/bus/mdev/devices/x", "fd:3", "sim:ice?seed=7"]) {
    assert.equal(formatDeviceName(parseDeviceName(text)), text);
  }
});

it("a VF token is a UUID", () => {
  assert.equal(parseVfToken(UUID.toUpperCase()), UUID);
  assert.throws(() => parseVfToken("secret"), {
    name: "DeviceNameError",
    message: 'Cannot use "secret" as a VF token: it is not a UUID',
  });
});
