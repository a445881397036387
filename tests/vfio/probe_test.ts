import assert from "node:assert/strict";
import type { ErrnoName } from "../../src/kernel/errno_names.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_GET_INFO,
  VFIO_REGION_INFO_FLAG_READ,
} from "../../src/uapi/mod.ts";
import { probe, type ProbeOptions, type ProbeReport } from "../../src/vfio/probe.ts";
import {
  addPci,
  ADDRESS,
  capability,
  fakeDevice,
  fakeVfio,
  FOLDER,
  GROUP_PATH,
  MIGRATION_REGION,
} from "./_fake_vfio.ts";
import { leakFreeTest } from "./_leak_free.ts";

function sim(spec: string, options: ProbeOptions = {}): ProbeReport {
  const kernel = new SimKernel(spec);
  const report = probe(`sim:${spec}`, { ...options, kernel });
  assert.deepEqual(kernel.openObjects, []);
  assert.deepEqual(kernel.devices[0]!.violations, []);
  return report;
}

function codes(report: ProbeReport): string[] {
  return report.reasons.map(({ code }) => code);
}

/** The name of a kernel's first mediated device. */
const SIM_DEVICE = "76666b69-7400-4000-8000-000000000001";

leakFreeTest("a simulated device can migrate, and says how", () => {
  const report = sim("partitioned");
  assert.deepEqual(
    {
      ...report,
      identity: null,
      features: [],
      regions: report.regions.map(({ index }) => index).slice(-1),
    },
    {
      device: "sim:partitioned",
      opened: true,
      bus: "mdev",
      driver: "vkit_sim",
      group: 0,
      access: {
        via: "group",
        cdev: null,
        iommufd: null,
        whyNotCdev: `${SIM_DEVICE} has no character device of its own`,
      },
      identity: null,
      protocol: "v1",
      migratable: true,
      dataSection: "partitioned",
      migrationFlags: null,
      quirk: null,
      resettable: true,
      reasons: [],
      features: [],
      regions: [9],
      dirty: { tracks: true, pgsizes: [4096], maxBitmapBytes: 268435456 },
      notes: [],
      driverNotes: [],
    },
  );
  assert.equal(report.identity?.mdevType, "vkit_sim-partitioned");
});

leakFreeTest("each personality has its data section and its quirk", () => {
  const found = ["trapped", "mapped", "ice", "nvidia-vgpu"].map((spec) => {
    const { dataSection, quirk } = sim(spec);
    return [spec, dataSection, quirk];
  });
  assert.deepEqual(found, [
    ["trapped", "trapped", null],
    ["mapped", "mapped", null],
    ["ice", "trapped", "ice"],
    ["nvidia-vgpu", "mapped", "nvidia-vgpu"],
  ]);
});

leakFreeTest("every way in which a simulated device cannot migrate has its reason", () => {
  const cases: [string, string, boolean | null][] = [
    ["none", "no-migration", false],
    ["vfio-pci", "needs-variant-driver", false],
    ["trapped?fault=region-size-zero", "migration-region-empty", false],
    ["mapped?fault=caps-loop", "broken-answer", false],
    ["mapped?fault=caps-outside", "broken-answer", false],
    ["mapped?fault=caps-odd", "broken-answer", false],
    ["mapped?fault=caps-truncated", "broken-answer", false],
    ["trapped?fault=group-not-viable", "group-not-viable", false],
    ["trapped?fault=type1-only", "no-type1v2", false],
    ["trapped?fault=group-busy", "busy", null],
    ["trapped?fault=open:EACCES", "no-permission", null],
  ];
  for (const [spec, code, migratable] of cases) {
    const report = sim(spec);
    assert.deepEqual(codes(report), [code], spec);
    assert.equal(report.reasons[0]!.blocks, true);
    assert.notEqual(report.reasons[0]!.hint, "");
    assert.equal(report.migratable, migratable, spec);
    assert.equal(report.protocol, null);
  }
});

leakFreeTest("a broken chain is named with its region and its defect", () => {
  const messages = ["loop", "outside", "odd", "truncated"].map((fault) =>
    sim(`mapped?fault=caps-${fault}`).reasons[0]!.message
  );
  for (const message of messages) {
    assert.match(message, /^Cannot use the capabilities of region 9 of device .*: .*capability/);
  }
  assert.match(messages[0]!, /leads back/);
  assert.match(messages[1]!, /outside/);
  assert.match(messages[2]!, /not a multiple of 4/);
  assert.match(messages[3]!, /truncated/);
});

leakFreeTest("an IOMMU that does not track pages is worth knowing, and does not block", () => {
  for (
    const [fault, code] of [
      ["no-dirty-capability", "no-dirty-capability"],
      ["draft-dirty-flag", "draft-dirty-tracking"],
    ] as const
  ) {
    const report = sim(`trapped?fault=${fault}`);
    assert.deepEqual(codes(report), [code]);
    assert.equal(report.reasons[0]!.blocks, false);
    assert.equal(report.migratable, true);
    assert.deepEqual(report.dirty, { tracks: false, pgsizes: [], maxBitmapBytes: null });
  }
});

leakFreeTest(
  "a note says that opening resets a PCI device, another that a device has no reset",
  () => {
    const kernel = fakeVfio({
      deviceFlags: VFIO_DEVICE_FLAGS_PCI,
      iommuCapabilities: capability(2, 0, [0, 0, 0x1000, 0, 0x1000_0000, 0]),
    });
    const report = probe(ADDRESS, { kernel });
    assert.deepEqual(codes(report), ["no-reset"]);
    assert.equal(report.migratable, true);
    assert.equal(report.quirk, "ice");
    assert.match(report.notes.join(), /Opening a PCI device may reset it/);
    assert.equal(kernel.fds.size, 0);
  },
);

leakFreeTest("without opening, sysfs alone is read, and nothing is promised", () => {
  const kernel = fakeVfio();
  const report = probe(ADDRESS, { kernel, open: false });
  assert.deepEqual(kernel.log, []);
  assert.deepEqual(
    [report.opened, report.driver, report.group, report.quirk, report.migratable],
    [false, "ice-vfio-pci", 12, "ice", null],
  );
  assert.deepEqual(report.reasons, []);
  assert.equal(report.notes.length, 1);
});

leakFreeTest("without opening, the reasons that sysfs shows are reported", () => {
  const kernel = fakeVfio();
  kernel.links.set(`${FOLDER}/driver`, "/sys/bus/pci/drivers/iavf");
  addPci(kernel, "0000:3b:00.0", "/sys/devices/pci0000:3a/0000:3b:00.0", 12, "ice");
  const report = probe(ADDRESS, { kernel, open: false });
  assert.deepEqual(codes(report), ["not-bound-to-vfio", "group-not-viable"]);
  assert.equal(report.migratable, false);

  kernel.links.delete(`${FOLDER}/iommu_group`);
  assert.deepEqual(codes(probe(ADDRESS, { kernel, open: false })), [
    "not-bound-to-vfio",
    "no-iommu-group",
  ]);
  const missing = probe("0000:00:1f.6", { kernel, open: false });
  assert.deepEqual(codes(missing), ["no-such-device"]);
  assert.equal(missing.migratable, false);
  assert.equal(probe("fd:3", { kernel, open: false }).migratable, null);
});

leakFreeTest("a device that cannot be opened is still described from sysfs", () => {
  const kernel = fakeVfio();
  kernel.nodes.set(GROUP_PATH, "EACCES");
  const report = probe(ADDRESS, { kernel });
  assert.deepEqual(
    [report.opened, report.bus, report.driver, report.group, codes(report)],
    [false, "pci", "ice-vfio-pci", 12, ["no-permission"]],
  );
});

leakFreeTest("a simulated v2 device can migrate, and the probe lists its features", () => {
  const report = sim("hisi");
  const { protocol, migratable, dataSection, migrationFlags, reasons, driver } = report;
  assert.deepEqual(
    { protocol, migratable, dataSection, migrationFlags, reasons, driver },
    {
      protocol: "v2",
      migratable: true,
      dataSection: null,
      migrationFlags: ["STOP_COPY", "PRE_COPY"],
      reasons: [],
      driver: "hisi_acc_vfio_pci",
    },
  );
  assert.deepEqual(sim("mlx5").migrationFlags, ["STOP_COPY", "P2P", "PRE_COPY"]);
  assert.equal(sim("trapped").migrationFlags, null);
});

leakFreeTest("each feature is reported, with the errno if it is missing", () => {
  const features = new Map<number, ErrnoName>([[VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, "EINVAL"]]);
  const { features: found } = probe(ADDRESS, { kernel: fakeVfio({ v2Flags: 1, features }) });
  assert.deepEqual(found.filter(({ supported }) => supported).map(({ name }) => name), [
    "MIGRATION",
  ]);
  const lacking = (name: string): unknown => found.find((feature) => feature.name === name);
  assert.deepEqual(lacking("MIG_DATA_SIZE"), {
    name: "MIG_DATA_SIZE",
    supported: false,
    errno: "EINVAL",
  });
  assert.deepEqual(lacking("DMA_LOGGING_REPORT"), {
    name: "DMA_LOGGING_REPORT",
    supported: false,
    errno: "ENOTTY",
  });
  assert.deepEqual(probe(ADDRESS, { kernel: fakeVfio(), open: false }).features, []);
});

leakFreeTest("a device without a protocol differs from one that needs its driver", () => {
  const neither = probe(ADDRESS, { kernel: fakeVfio({ regions: {}, deviceFlags: 0 }) });
  assert.deepEqual([neither.protocol, neither.migratable], [null, false]);
  assert.deepEqual(codes(neither), ["no-migration"], "that it has no reset is beside the point");
  assert.match(neither.reasons[0]!.message, /ice-vfio-pci.*does not speak the v2 protocol/);

  const kernel = fakeVfio({ regions: {} });
  kernel.links.set(`${FOLDER}/driver`, "/sys/bus/pci/drivers/vfio-pci");
  const plain = (): { message: string; hint: string } => probe(ADDRESS, { kernel }).reasons[0]!;
  assert.match(plain().message, /plain vfio-pci, which does not migrate: that takes the VFIO/);
  assert.match(plain().hint, /modules\.alias/);

  const aliases = "/lib/modules/6.12.1/modules.alias";
  kernel.texts.set("/proc/sys/kernel/osrelease", "6.12.1\n");
  kernel.texts.set(aliases, "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n");
  assert.match(plain().message, /is unknown: .*\/modules\.builtin\.modinfo cannot be read/);
  kernel.texts.set("/lib/modules/6.12.1/modules.builtin.modinfo", "");
  kernel.texts.set("/sys/bus/pci/drivers/vfio-pci/uevent", "");
  assert.match(plain().message, /kernel 6\.12\.1 has no VFIO driver made for it/);

  kernel.texts.set(
    aliases,
    [
      "alias pci:v00008086d00001889sv*sd*bc*sc*i* iavf",
      "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci",
      "alias vfio_pci:v00008086d0000188Asv*sd*bc*sc*i* other_vfio_pci",
      "alias vfio_pci:v00008086d*sv*sd*bc02sc00i* intel_vfio_pci",
      "alias vfio_pci:v00008086d00001889sv*sd*bc*sc*i* ice_vfio_pci",
      "",
    ].join("\n"),
  );
  assert.match(plain().message, /made for it is "intel_vfio_pci"/);
  assert.match(plain().hint, /^modprobe intel_vfio_pci && driver=.* > .*driver_override/);
  kernel.texts.set(aliases, kernel.texts.get(aliases)!.replace("bc02sc00", "bc03sc00"));
  assert.match(plain().message, /made for it is "ice_vfio_pci"/);
});

leakFreeTest("an unbound device is to be bound to the driver made for it", () => {
  const kernel = fakeVfio();
  kernel.links.delete(`${FOLDER}/driver`);
  const hint = (): string => probe(ADDRESS, { kernel, open: false }).reasons[0]!.hint;
  assert.match(hint(), /^modprobe vfio-pci && .*# to migrate it/);
  kernel.texts.set("/proc/sys/kernel/osrelease", "6.12.1\n");
  kernel.texts.set(
    "/lib/modules/6.12.1/modules.alias",
    "alias vfio_pci:v00008086d00001889sv*sd*bc*sc*i* ice_vfio_pci\n",
  );
  assert.match(hint(), /^modprobe ice_vfio_pci && .*drivers_probe; false; \}; \}$/);
});

leakFreeTest("a migration region that cannot hold or give its registers is not used", () => {
  const wrong = [{ size: 31n }, { flags: VFIO_REGION_INFO_FLAG_READ }];
  for (const change of wrong) {
    const kernel = fakeVfio({ regions: { 9: { ...MIGRATION_REGION, ...change } } });
    const report = probe(ADDRESS, { kernel });
    assert.deepEqual(codes(report), ["migration-region-unusable"]);
    assert.equal(report.migratable, false);
  }
});

leakFreeTest(
  "a broken region beside a sound migration region is reported, and does not block",
  () => {
    const broken = { ...MIGRATION_REGION, capabilities: new Uint8Array(new ArrayBuffer(4)) };
    const kernel = fakeVfio({
      regions: { 2: broken, 9: MIGRATION_REGION },
      iommuCapabilities: new Uint8Array(new ArrayBuffer(4)),
    });
    const report = probe(ADDRESS, { kernel });
    assert.equal(report.migratable, true);
    assert.deepEqual(report.reasons.map(({ code, blocks }) => [code, blocks]), [
      ["broken-answer", false],
      ["broken-answer", false],
    ]);
    assert.match(report.reasons[0]!.message, /region 2/);
    assert.match(report.reasons[1]!.message, /container/);
    assert.equal(report.dirty.tracks, null);
  },
);

leakFreeTest(
  "a device whose own description is a lie is reported, and another failure is thrown",
  () => {
    const lie = probe(ADDRESS, { kernel: fakeVfio({ numRegions: 5000 }) });
    assert.deepEqual(codes(lie), ["broken-answer"]);
    const kernel = fakeVfio({ failing: new Map([[VFIO_DEVICE_GET_INFO, "EIO"]]) });
    assert.throws(() => probe(ADDRESS, { kernel }), { name: "OpenError", code: "no-power" });
  },
);

leakFreeTest("a borrowed device is asked, and left open", () => {
  const kernel = fakeVfio();
  kernel.install(fakeDevice(), 3);
  const report = probe("fd:3", { kernel });
  assert.deepEqual(
    [report.device, report.migratable, report.dirty.tracks, report.group, report.notes],
    ["fd:3", true, null, null, []],
  );
  assert.ok(kernel.fds.has(3));
});

leakFreeTest("probing says by which nodes a device is opened, and could be", () => {
  const access = (spec: string, options?: ProbeOptions): unknown => {
    const { via, cdev, iommufd, whyNotCdev } = sim(spec, options).access;
    return [via, cdev, iommufd, whyNotCdev];
  };
  const nodes = ["/dev/vfio/devices/vfio0", "/dev/iommu"];
  assert.deepEqual(access("trapped?cdev=1"), ["cdev", ...nodes, null]);
  assert.deepEqual(access("trapped?cdev=1", { via: "group" }), ["group", ...nodes, null]);
  assert.deepEqual(access("trapped?cdev=1", { open: false }), [null, ...nodes, null]);
  assert.deepEqual(access("trapped", { open: false }), [null, null, null, null]);
  // A kernel without is no reason against the device.
  assert.deepEqual(codes(sim("trapped")), []);
  assert.deepEqual(codes(sim("trapped", { via: "cdev" })), ["no-cdev"]);
});

leakFreeTest("a device opened by its own node has no type1 that could be asked", () => {
  const { dirty, reasons, migratable } = sim("trapped?cdev=1");
  assert.deepEqual([dirty.tracks, migratable, reasons], [null, true, []]);
  assert.equal(sim("trapped?cdev=1", { via: "group" }).dirty.tracks, true);
});
