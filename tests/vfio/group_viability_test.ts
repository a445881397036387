import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SimKernel } from "../../src/sim/mod.ts";
import { holdsGroup } from "../../src/vfio/reasons/group_viability.ts";
import { hasSince } from "../../src/vfio/reasons/kernel_release.ts";
import { probe, type ProbeReport } from "../../src/vfio/probe.ts";
import { readSysfsDevice, type SysfsDevice } from "../../src/vfio/sysfs/sysfs.ts";
import { FakeKernel } from "./_fake_kernel.ts";
import { addPci, ADDRESS, fakeVfio } from "./_fake_vfio.ts";

const OLD = "5.10.0-32-amd64";
const NEW = "6.12.48+deb13-amd64";
const OTHER = "0000:00:1f.0";
const FOLDER = `/sys/devices/pci0000:00/${OTHER}`;

interface Member {
  readonly driver: string | null;
  readonly pciClass?: string;
  readonly change?: (kernel: FakeKernel) => void;
}

/** Whether such a device keeps its group, by the rule of each release. */
function held({ driver, pciClass, change }: Member): (boolean | null)[] {
  const kernel = new FakeKernel();
  addPci(kernel, OTHER, FOLDER, 12, driver, pciClass);
  change?.(kernel);
  const device = readSysfsDevice(kernel, FOLDER) as SysfsDevice;
  return [OLD, NEW, null].map((release) => holdsGroup(kernel, device, release));
}

const HEADER_LESS = (kernel: FakeKernel): void => void kernel.nodes.delete(`${FOLDER}/config`);

describe("which device keeps its group from user space", () => {
  it("is none without a driver, or with VFIO's or pci-stub", () => {
    for (const driver of [null, "vfio-pci", "mlx5_vfio_pci", "pci-stub"]) {
      assert.deepEqual(held({ driver }), [false, false, false], String(driver));
    }
  });

  it("is unknown of a driver that is VFIO's by its name alone, if the kernel shows more", () => {
    const shows = (kernel: FakeKernel): void => {
      kernel.links.set("/sys/class/vfio-dev/vfio0", "/sys/devices/other/vfio-dev/vfio0");
    };
    assert.deepEqual(held({ driver: "acme-vfio-host", change: shows }), [null, null, null]);
    const made = (kernel: FakeKernel): void => {
      shows(kernel);
      kernel.texts.set(`${FOLDER}/vfio-dev/vfio1/dev`, "511:1\n");
    };
    assert.deepEqual(held({ driver: "acme", change: made }), [false, false, false]);
  });

  it("is a function with a driver of the host, on every kernel", () => {
    assert.deepEqual(held({ driver: "nvme" }), [true, true, true]);
  });

  it("is an ISA bridge, which is no bridge by its header", () => {
    assert.deepEqual(held({ driver: "lpc_ich", pciClass: "0x060100" }), [true, true, true]);
  });

  it("is no bridge by its header before 5.18; from then on only a port's driver is known not to", () => {
    const pciClass = "0x060400";
    assert.deepEqual(held({ driver: "pcieport", pciClass }), [false, false, false]);
    assert.deepEqual(held({ driver: "shpchp", pciClass }), [false, null, null]);
    // Whose header cannot be read is told by its class, where that settles it.
    assert.deepEqual(held({ driver: "shpchp", pciClass, change: HEADER_LESS }), [
      false,
      null,
      null,
    ]);
    assert.deepEqual(held({ driver: "nvme", change: HEADER_LESS }), [true, true, true]);
    assert.deepEqual(held({ driver: "lpc_ich", pciClass: "0x060100", change: HEADER_LESS }), [
      null,
      null,
      null,
    ]);
  });

  it("is unknown of a driver that did not come with the kernel, from 5.18 on", () => {
    const change = (kernel: FakeKernel): void => {
      kernel.links.set("/sys/bus/pci/drivers/acme/module", "/sys/module/acme");
      kernel.texts.set("/sys/module/acme/taint", "OE\n");
    };
    assert.deepEqual(held({ driver: "acme", change }), [true, null, null]);
  });

  it("is unknown of what is not on the PCI bus, from 5.18 on", () => {
    const change = (kernel: FakeKernel): void =>
      void kernel.links.set(`${FOLDER}/subsystem`, "/sys/bus/platform");
    assert.deepEqual(held({ driver: "tegra194-pcie", change }), [true, null, null]);
  });
});

describe("a kernel's release", () => {
  it("is compared by its numbers", () => {
    for (
      const [release, has] of [
        ["5.17.15", false],
        ["5.18.0-rc1", true],
        ["6.1.0-50-amd64", true],
        ["4.19.0", false],
        ["10.0", true],
        ["", null],
        [null, null],
      ] as const
    ) assert.equal(hasSince(release, 5, 18), has, String(release));
  });

  it("says nothing if the driver accepts data of later versions", () => {
    assert.equal(hasSince("5.14.0-503.11.1.el9_5.x86_64", 5, 18), null);
    assert.equal(hasSince("5.14.0-503.11.1.el9_5.x86_64", 5, 10), true);
  });
});

describe("a group that is not viable", () => {
  const ISA = "0x060100";
  const blocking = (report: ProbeReport): unknown =>
    report.reasons.map(({ code, blocks }) => [code, blocks]);

  it("has its holder named, opened or not", () => {
    for (const release of [OLD, NEW]) {
      for (const open of [true, false]) {
        const kernel = fakeVfio({ groupFlags: 0 });
        kernel.texts.set("/proc/sys/kernel/osrelease", `${release}\n`);
        addPci(kernel, OTHER, FOLDER, 12, "lpc_ich", ISA);
        const report = probe(ADDRESS, { kernel, open });
        assert.deepEqual(blocking(report), [["group-not-viable", true]]);
        assert.equal(
          report.reasons[0]!.message,
          `IOMMU group 12 is not viable: held by ${OTHER} (lpc_ich)`,
        );
        assert.equal(report.migratable, false);
      }
    }
  });

  it("is reported as possible if that cannot be known; opening it shows", () => {
    const spoilt = (groupFlags?: number): FakeKernel => {
      const kernel = fakeVfio(groupFlags === undefined ? {} : { groupFlags });
      kernel.texts.set("/proc/sys/kernel/osrelease", `${NEW}\n`);
      addPci(kernel, OTHER, FOLDER, 12, "shpchp", "0x060400");
      return kernel;
    };
    const report = probe(ADDRESS, { kernel: spoilt(), open: false });
    assert.deepEqual(blocking(report), [["group-viability-unknown", false]]);
    assert.match(report.reasons[0]!.message, /whether 0000:00:1f\.0 \(shpchp\) holds it cannot be/);
    assert.equal(report.migratable, null);
    assert.equal(probe(ADDRESS, { kernel: spoilt() }).migratable, true);
    const [reason] = probe(ADDRESS, { kernel: spoilt(0) }).reasons;
    assert.match(reason!.message, /not viable: held by 0000:00:1f\.0 \(shpchp\)$/);
  });

  it("is simulated, by either way, with an ISA bridge", () => {
    for (const [cdev, via] of [[0, "group"], [1, "cdev"], [1, "group"]] as const) {
      const spec = `mlx5?fault=isa-bridge&cdev=${cdev}`;
      for (const open of [true, false]) {
        const kernel = new SimKernel(spec);
        const { reasons } = probe(`sim:${spec}`, { kernel, via, open });
        assert.deepEqual(reasons.map(({ code }) => code), ["group-not-viable"]);
        assert.match(reasons[0]!.message, /held by 0000:00:1e\.0 \(lpc_ich\)$/);
        assert.deepEqual(kernel.openObjects, []);
      }
    }
  });

  it("does not hide the reason if sysfs lists no devices", () => {
    const kernel = fakeVfio({ groupFlags: 0 });
    const readDir = kernel.readDir.bind(kernel);
    Object.assign(kernel, {
      readDir: (path: string) =>
        path.startsWith("/sys/kernel/iommu_groups/12") ? readDir("/nowhere") : readDir(path),
    });
    const [reason] = probe(ADDRESS, { kernel }).reasons;
    assert.match(reason!.message, /12 is not viable: a driver that is not VFIO's, or another user/);
  });
});
