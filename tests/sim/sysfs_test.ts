import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { O_RDWR } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

describe("the file tree of the simulated kernel", () => {
  const kernel = new SimKernel("trapped", "nvidia-vgpu");
  const [first, second] = kernel.devices.map(({ path }) => path) as [string, string];
  const mdevs = "/sys/bus/mdev/devices";

  it("lists the mdevs, as links to directories below their parents", () => {
    assert.deepEqual(kernel.readDir(mdevs), [first, second]);
    assert.equal(
      kernel.readLink(`${mdevs}/${first}`),
      `../../../devices/pci0000:00/0000:00:10.0/${first}`,
    );
    assert.equal(
      kernel.realPath(`${mdevs}/${second}`),
      `/sys/devices/pci0000:00/0000:00:11.0/${second}`,
    );
  });

  it("shows an mdev's group, driver, bus and type by links", () => {
    const name = (link: string): string => kernel.readLink(`${mdevs}/${second}/${link}`);
    assert.equal(name("iommu_group"), "../../../../kernel/iommu_groups/1");
    assert.equal(name("driver"), "../../../../bus/mdev/drivers/nvidia-vgpu-vfio");
    assert.equal(name("subsystem"), "../../../../bus/mdev");
    assert.equal(name("mdev_type"), "../mdev_supported_types/nvidia-63");
    assert.equal(kernel.readText(`${mdevs}/${second}/mdev_type/name`), "Simulated vGPU\n");
    assert.equal(kernel.readLink(`${mdevs}/${second}/../driver`).split("/").at(-1), "nvidia");
    assert.equal(kernel.readText(`${mdevs}/${second}/../vendor`), "0x10de\n");
  });

  it("lists a group's devices, as links back to them", () => {
    assert.deepEqual(kernel.readDir("/sys/kernel/iommu_groups"), ["0", "1"]);
    assert.deepEqual(kernel.readDir("/sys/kernel/iommu_groups/0/devices"), [first]);
    assert.equal(
      kernel.realPath(`/sys/kernel/iommu_groups/0/devices/${first}`),
      kernel.realPath(`${mdevs}/${first}`),
    );
    assert.deepEqual(kernel.readDir("/dev/vfio"), ["0", "1", "vfio"]);
  });

  it("has a virtual function, with a physical one, for each device that is not mediated", () => {
    const other = new SimKernel("trapped", "mlx5", "qat");
    assert.deepEqual(other.devices.map(({ path }) => path), [
      first,
      "0000:3c:00.1",
      "0000:3d:00.1",
    ]);
    const folder = "/sys/bus/pci/devices/0000:3c:00.1";
    const name = (link: string): string => other.realPath(`${folder}/${link}`).split("/").at(-1)!;
    assert.deepEqual(["driver", "subsystem", "iommu_group", "physfn"].map(name), [
      "mlx5_vfio_pci",
      "pci",
      "1",
      "0000:3c:00.0",
    ]);
    assert.equal(other.readText(`${folder}/device`), "0x101e\n");
    assert.match(other.readLink(`${folder}/physfn/driver`), /mlx5_core$/);
    assert.equal(
      other.realPath(`${folder}/physfn/virtfn0`),
      other.realPath("/sys/kernel/iommu_groups/1/devices/0000:3c:00.1"),
    );
    // A group behind an IOMMU has no name.
    refused("ENOENT", () => other.readText("/sys/kernel/iommu_groups/1/name"));
  });

  it("names the variant drivers of the virtual functions", () => {
    const release = kernel.readText("/proc/sys/kernel/osrelease").trim();
    const path = `/lib/modules/${release}/modules.alias`;
    assert.match(kernel.readText(path), /^alias vfio_pci:v000015B3d0000101Esv\S+ mlx5_vfio_pci$/m);
    assert.throws(() => kernel.readText(path, 10), { code: "EFBIG" });
  });

  it("shows the host device that makes a group not viable", () => {
    const spoiled = new SimKernel("trapped?fault=group-not-viable");
    const names = spoiled.readDir("/sys/kernel/iommu_groups/0/devices");
    assert.deepEqual(names, ["0000:00:1f.0", spoiled.devices[0]!.path]);
    assert.match(spoiled.readLink(`/sys/bus/pci/devices/${names[0]}/driver`), /snd_hda_intel$/);
  });

  it("shows the memory that firmware keeps mapped, and whether interrupts are remapped", () => {
    const regions = (spec: string): string =>
      new SimKernel(spec).readText("/sys/kernel/iommu_groups/0/reserved_regions");
    assert.equal(regions("mlx5"), "0x00000000fee00000 0x00000000feefffff msi\n");
    assert.match(regions("mlx5?fault=firmware-region"), /^0x0+7b800000 0x0+7fffffff direct$/m);
    assert.equal(regions("trapped"), "");
    assert.match(kernel.readText("/proc/interrupts"), /IR-PCI-MSI/);
    const unsafe = new SimKernel("mlx5?fault=unsafe-interrupts");
    assert.doesNotMatch(unsafe.readText("/proc/interrupts"), /IR-/);
  });

  it("shows any process the header of a function's configuration space", () => {
    const folder = "/sys/bus/pci/devices/0000:00:10.0";
    const fd = kernel.open(`${folder}/config`, 0);
    const header = new Uint8Array(new ArrayBuffer(128));
    assert.equal(kernel.pread(fd, header, 0), 64);
    const vendor = new DataView(header.buffer).getUint16(0, true);
    assert.equal(vendor, Number(kernel.readText(`${folder}/vendor`)));
    assert.equal(header[0x0e], 0);
    kernel.close(fd);
  });

  it("has a mediated device without a group, like a kernel without groups", () => {
    const groupless = new SimKernel("trapped?cdev=1&group=0");
    refused("ENOENT", () => groupless.readLink(`${mdevs}/${first}/iommu_group`));
    assert.deepEqual(groupless.readDir("/dev/vfio"), ["devices", "vfio"]);
    assert.deepEqual(groupless.readDir("/sys/kernel/iommu_groups"), []);
    for (const spec of ["trapped?group=0", "mlx5?cdev=1&group=0", "trapped?group=2"]) {
      assert.throws(() => new SimKernel(spec), { name: "SimSpecError" });
    }
  });

  it("answers with the errnos of a file system", () => {
    refused("ENOENT", () => kernel.readText("/proc/self/status"));
    refused("ENOENT", () => kernel.open("/dev/vfio/7", O_RDWR));
    refused("ENOENT", () => kernel.readText("relative"));
    refused("EISDIR", () => kernel.readText(mdevs));
    refused("EINVAL", () => kernel.readLink(mdevs));
    refused("ENOTDIR", () => kernel.readDir("/sys/kernel/iommu_groups/0/name"));
    refused("ENOTDIR", () => kernel.readText("/dev/vfio/vfio/x"));
    assert.deepEqual(kernel.readDir("/proc"), ["interrupts", "self", "sys"]);
  });
});
