import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { describe, it } from "node:test";
import { probe } from "../../src/vfio/probe.ts";
import type { Reason } from "../../src/vfio/reasons/unsupported_error.ts";
import type { FakeKernel } from "./_fake_kernel.ts";
import { addPci, ADDRESS, fakeVfio, FOLDER } from "./_fake_vfio.ts";

const RELEASE = "6.12.1";
const DRIVERS = "/sys/bus/pci/drivers";
/** How an alias for the fake's function ends. */
const IDS = "vfio_pci:v00008086d00001889sv*sd*bc*sc*i*";

interface Host {
  /** The driver that is bound; none where left out. */
  readonly driver?: string;
  /** Drivers that are loaded or built in, and their modules. */
  readonly drivers?: Readonly<Record<string, string>>;
  /** Where the kernel's modules are; nowhere where left out. */
  readonly modules?: string;
  readonly aliases?: string;
  readonly builtin?: string;
  readonly texts?: Readonly<Record<string, string>>;
  readonly links?: Readonly<Record<string, string>>;
}

function host({ driver, drivers, modules, aliases = "", builtin = "", ...more }: Host): FakeKernel {
  const kernel = fakeVfio({ regions: {} });
  kernel.links.delete(`${FOLDER}/driver`);
  if (driver !== undefined) kernel.links.set(`${FOLDER}/driver`, `${DRIVERS}/${driver}`);
  for (const [name, module] of Object.entries({ "vfio-pci": "vfio_pci", ...drivers })) {
    kernel.links.set(`${DRIVERS}/${name}/module`, `/sys/module/${module}`);
  }
  kernel.texts.set("/proc/sys/kernel/osrelease", `${RELEASE}\n`);
  if (modules !== undefined) {
    kernel.texts.set(`${modules}/${RELEASE}/modules.alias`, aliases);
    kernel.texts.set(`${modules}/${RELEASE}/modules.builtin.modinfo`, builtin);
  }
  for (const [name, text] of Object.entries(more.texts ?? {})) kernel.texts.set(name, text);
  for (const [name, to] of Object.entries(more.links ?? {})) kernel.links.set(name, to);
  return kernel;
}

function firstReason(kernel: FakeKernel, open: boolean): Reason {
  return probe(ADDRESS, { kernel, open }).reasons[0]!;
}

/** Why the function does not migrate, bound to plain vfio-pci. */
function ofPlain(setup: Host): Reason {
  return firstReason(host({ driver: "vfio-pci", ...setup }), true);
}

describe("the commands that bind a device", () => {
  /** What the commands are run against, in place of sysfs. */
  interface Machine {
    /** The driver that modprobe brings; null if modprobe fails. */
    readonly loads: string | null;
    /** Whether a driver is bound to the device, before and after; otherwise before only. */
    readonly bound?: boolean;
    readonly folder?: string;
  }

  interface Written {
    readonly override: string | null;
    readonly unbind: string | null;
    readonly probe: string | null;
    readonly status: number | null;
  }

  /** Runs them in a shell, over files in place of sysfs; returns what was written to which. */
  function run(
    hint: string,
    { loads, bound = true, folder = `/sys/bus/pci/devices/${ADDRESS}` }: Machine,
  ): Written {
    const root = fs.mkdtempSync(path.join(tmpdir(), "vfiokit-bind-"));
    try {
      const bus = path.dirname(path.dirname(folder));
      for (const made of [bound ? `${folder}/driver` : folder, `${bus}/drivers`, "/bin"]) {
        fs.mkdirSync(root + made, { recursive: true });
      }
      const module = `${root}/sys/module/$(echo "$1" | tr - _)/drivers`;
      const load = loads === null
        ? "exit 1"
        : `mkdir -p "${module}/${path.basename(bus)}:${loads}"`;
      fs.writeFileSync(`${root}/bin/modprobe`, `#!/bin/sh\n${load}\n`, { mode: 0o755 });
      const { status } = spawnSync("sh", ["-c", hint.replaceAll("/sys/", `${root}/sys/`)], {
        env: { PATH: `${root}/bin:/usr/bin:/bin` },
      });
      const read = (name: string): string | null =>
        fs.existsSync(root + name) ? fs.readFileSync(root + name, "utf8") : null;
      return {
        override: read(`${folder}/driver_override`),
        unbind: read(`${folder}/driver/unbind`),
        probe: read(`${bus}/drivers_probe`),
        status,
      };
    } finally {
      fs.rmSync(root, { recursive: true });
    }
  }

  const table: readonly (readonly [module: string, driver: string])[] = [
    ["xe_vfio_pci", "xe-vfio-pci"],
    ["mlx5_vfio_pci", "mlx5_vfio_pci"],
    ["hisi_acc_vfio_pci", "hisi_acc_vfio_pci"],
    ["other_vfio_pci", "Its own name & sign"],
  ];
  for (const [module, driver] of table) {
    it(`name the driver as it is called: module ${module}, driver ${driver}`, () => {
      const setup = { modules: "/lib/modules", aliases: `alias ${IDS} ${module}\n` };
      for (const bound of [undefined, "host", "vfio-pci"]) {
        const { hint } = bound === "vfio-pci" ? ofPlain(setup) : firstReason(
          host({ ...(bound === undefined ? {} : { driver: bound }), ...setup }),
          false,
        );
        assert.deepEqual(run(hint, { loads: driver }), {
          override: `${driver}\n`,
          unbind: bound === undefined ? null : `${ADDRESS}\n`,
          probe: `${ADDRESS}\n`,
          status: 0,
        });
      }
    });
  }

  const NOTHING: Written = { override: null, unbind: null, probe: null, status: 1 };

  it("leave the device where it is if the module brings no driver", () => {
    const aliases = `alias ${IDS} xe_vfio_pci\n`;
    const { hint } = ofPlain({ modules: "/lib/modules", aliases });
    const written = run(hint.replace(/^modprobe xe_vfio_pci && /, ""), { loads: null });
    assert.notEqual(written.status, 0);
    assert.deepEqual({ ...written, status: 1 }, NOTHING);
  });

  it("give the device back if the new driver does not take it", () => {
    const { hint } = firstReason(host({}), false);
    assert.deepEqual(run(hint, { loads: null, bound: false }), {
      override: "\n",
      unbind: null,
      probe: `${ADDRESS}\n`,
      status: 1,
    });
    const held = firstReason(host({ driver: "it's" }), false).hint;
    assert.match(
      held,
      /driver \|\| \{ echo 'it'\\''s' > \S+driver_override; echo \S+ > \S+drivers_probe; false; \};/,
    );
  });

  it("are for a device of any name", () => {
    const name = 'it\'s a "device" & $(more) -e\\n\t';
    const kernel = host({ driver: "host" });
    kernel.links.set(`/sys/bus/platform/devices/${name}`, `/sys/devices/platform/${name}`);
    kernel.links.set(`/sys/devices/platform/${name}/subsystem`, "/sys/bus/platform");
    kernel.links.set(`/sys/devices/platform/${name}/iommu_group`, "/sys/kernel/iommu_groups/3");
    kernel.links.set(`/sys/devices/platform/${name}/driver`, `/sys/bus/platform/drivers/${name}`);
    const { reasons } = probe(`/sys/bus/platform/devices/${name}`, { kernel, open: false });
    const written = run(reasons[0]!.hint, {
      loads: "vfio-platform",
      folder: `/sys/bus/platform/devices/${name}`,
    });
    assert.deepEqual(written, {
      override: "vfio-platform\n",
      unbind: `${name}\n`,
      probe: `${name}\n`,
      status: 0,
    });
  });

  it("are not printed if no IOMMU would let a VFIO driver take the device", () => {
    const kernel = host({ driver: "host" });
    kernel.links.delete(`${FOLDER}/iommu_group`);
    const { reasons } = probe(ADDRESS, { kernel, open: false });
    assert.deepEqual(reasons.map(({ code }) => code), ["not-bound-to-vfio", "no-iommu-group"]);
    for (const { hint } of reasons) assert.doesNotMatch(hint, /unbind|driver_override/);
    assert.match(reasons[0]!.hint, /^Turn the IOMMU on first/);
  });

  it("leave the device where it is if the module does not load", () => {
    const { hint } = ofPlain({
      modules: "/lib/modules",
      aliases: `alias ${IDS} xe_vfio_pci\n`,
    });
    assert.deepEqual(run(hint, { loads: null }), NOTHING);
  });

  it("are commands, whatever is said beside them", () => {
    const { hint } = firstReason(host({ driver: "host" }), false);
    assert.match(hint, /# to migrate it, bind the VFIO driver of its vendor instead$/);
    assert.doesNotMatch(hint, /modprobe/);
    const bound = {
      override: "vfio-pci\n",
      unbind: `${ADDRESS}\n`,
      probe: `${ADDRESS}\n`,
      status: 0,
    };
    assert.deepEqual(run(hint, { loads: null }), bound);
    const none = firstReason(host({ driver: "host", modules: "/lib/modules" }), false).hint;
    assert.match(none, /# without migration: no VFIO driver of kernel 6\.12\.1 migrates it$/);
    assert.deepEqual(run(none, { loads: null }), bound);
  });

  it("load nothing if the driver is there, whatever its name", () => {
    const { message, hint } = ofPlain({
      drivers: { "Other Name": "xe_vfio_pci" },
      modules: "/lib/modules",
      aliases: `alias ${IDS} xe_vfio_pci\n`,
    });
    assert.match(message, /made for it is "Other Name"/);
    assert.match(hint, /^echo 'Other Name' > /);
  });
});

describe("the driver that is made for a function", () => {
  it("may be built in", () => {
    const { message, hint } = ofPlain({
      drivers: { ice_vfio_pci: "ice_vfio_pci" },
      modules: "/lib/modules",
      builtin: `vfio_pci.license=GPL\0ice_vfio_pci.alias=${IDS}\0ext4.alias=fs-ext4\0`,
    });
    assert.match(message, /made for it is "ice_vfio_pci"/);
    assert.doesNotMatch(hint, /modprobe/);
  });

  it("is found in the folders in which distributions keep modules", () => {
    for (
      const modules of [
        "/lib/modules",
        "/usr/lib/modules",
        "/run/booted-system/kernel-modules/lib/modules",
        "/run/current-system/kernel-modules/lib/modules",
      ]
    ) {
      const { message } = ofPlain({ modules, aliases: `alias ${IDS} ice_vfio_pci\n` });
      assert.match(message, /made for it is "ice_vfio_pci"/, modules);
    }
  });

  it("is none only if everything that could name it was read", () => {
    assert.match(ofPlain({ modules: "/lib/modules" }).message, /has no VFIO driver made for it/);
    const { message, hint } = ofPlain({ drivers: { mlx5_vfio_pci: "mlx5_vfio_pci" } });
    assert.match(message, /is unknown: .*modules\.alias, .*modules\.builtin\.modinfo cannot be/);
    assert.match(hint, /^It may be one that is there: mlx5_vfio_pci$/);
    assert.match(ofPlain({}).hint, /modules\.alias; in a container, look on the host/);
  });

  it("is not recommended for what it does not do", () => {
    const nvgrace = { modules: "/lib/modules", aliases: `alias ${IDS} nvgrace_gpu_vfio_pci\n` };
    const { code, message, hint } = ofPlain(nvgrace);
    assert.equal(code, "needs-variant-driver");
    assert.match(message, /made for it, "nvgrace_gpu_vfio_pci", does not either/);
    assert.doesNotMatch(hint, /driver_override/);
    const virtio = { modules: "/lib/modules", aliases: `alias ${IDS} virtio_vfio_pci\n` };
    assert.match(ofPlain(virtio).hint, /migrates from Linux 6\.13 on/);
    const newer = { "/proc/sys/kernel/osrelease": "6.13.0\n" };
    const files = Object.fromEntries(
      [["modules.alias", virtio.aliases], ["modules.builtin.modinfo", ""]]
        .map(([file, text]) => [`/lib/modules/6.13.0/${file}`, text!]),
    );
    assert.match(ofPlain({ texts: { ...newer, ...files } }).message, /is "virtio_vfio_pci"/);
    assert.match(
      firstReason(host({ driver: "nvgrace_gpu_vfio_pci" }), true).hint,
      /migrates in no known release of Linux/,
    );
  });
});

describe("plain vfio-pci", () => {
  it("migrates nothing, which is known without opening the device", () => {
    const kernel = host({ driver: "vfio-pci", modules: "/lib/modules" });
    const { reasons, migratable } = probe(ADDRESS, { kernel, open: false });
    assert.deepEqual(reasons.map(({ code }) => code), ["needs-variant-driver"]);
    assert.equal(migratable, false);
  });
});

describe("a bridge", () => {
  it("is not to be bound, however it is recognised", () => {
    const address = "0000:3a:00.0";
    const cases: [pciClass: string, driver: string | null, message: RegExp][] = [
      ["0x060400", "pcieport", /is a PCI bridge \(driver "pcieport"\): no VFIO driver takes it/],
      ["0x060400", null, /is a PCI bridge: no VFIO driver takes it/],
      ["0x060100", "lpc_ich", /is an ISA bridge \(driver "lpc_ich"\): it has no state/],
      ["0x060000", null, /is a host bridge: it has no state/],
    ];
    for (const [pciClass, driver, message] of cases) {
      const kernel = host({ driver: "vfio-pci" });
      addPci(kernel, address, `/sys/devices/pci0000:3a/${address}`, 12, driver, pciClass);
      for (const open of [true, false]) {
        const { reasons, migratable } = probe(address, { kernel, open });
        assert.deepEqual(reasons.map(({ code }) => code), ["bridge"]);
        assert.match(reasons[0]!.message, message);
        assert.doesNotMatch(reasons[0]!.hint, /echo|modprobe|bind/);
        assert.equal(migratable, false);
      }
    }
  });

  it("of another kind may be for user space, such as one between two machines", () => {
    const kernel = host({});
    const address = "0000:3a:00.0";
    addPci(kernel, address, `/sys/devices/pci0000:3a/${address}`, 13, "ntb_hw_intel", "0x068000");
    const [reason] = probe(address, { kernel, open: false }).reasons;
    assert.equal(reason?.code, "not-bound-to-vfio");
  });
});

describe("a function that is not the one to migrate, or not set up for it", () => {
  const PF = { texts: { [`${FOLDER}/sriov_totalvfs`]: "8\n" } };

  it("is reported: a physical one has virtual ones", () => {
    const { code, message, hint } = ofPlain(PF);
    assert.equal(code, "physical-function");
    assert.match(message, /a physical function, with up to 8 virtual ones: those migrate/);
    // vfio-pci makes no virtual functions: its vendor's driver does.
    assert.match(
      hint,
      /modprobe .*modalias.* && .*unbind && .* && echo 1 > .*\/sriov_numvfs && ls /,
    );
    // It may have no virtual ones at all.
    assert.equal(
      ofPlain({ texts: { [`${FOLDER}/sriov_totalvfs`]: "0\n" } }).code,
      "needs-variant-driver",
    );
  });

  it("is left to the driver that the machine may hang on", () => {
    const aliases = `alias ${IDS} mlx5_vfio_pci\n`;
    const kernel = host({ driver: "mlx5_core", modules: "/lib/modules", aliases, ...PF });
    const { code, hint } = firstReason(kernel, false);
    assert.equal(code, "not-bound-to-vfio");
    assert.match(hint, /Leave it to "mlx5_core", and make one or more, up to 8: echo 1 > /);
    assert.doesNotMatch(hint, /unbind/);
    // While it has some, their number cannot be changed (EBUSY).
    kernel.texts.set(`${FOLDER}/sriov_numvfs`, "2\n");
    const made = firstReason(kernel, false).hint;
    assert.match(made, /It has 2; name one of them: ls -d .*\/virtfn\*$/);
    assert.doesNotMatch(made, /echo/);
    assert.doesNotMatch(
      ofPlain({ texts: { ...PF.texts, [`${FOLDER}/sriov_numvfs`]: "2" } }).hint,
      /echo/,
    );
  });

  it("has a switch for migration, if its driver has one", () => {
    const kernel = host({
      driver: "mlx5_vfio_pci",
      links: { [`${FOLDER}/physfn`]: "../0000:3b:00.0" },
    });
    const { code, hint } = firstReason(kernel, true);
    assert.equal(code, "no-migration");
    assert.match(hint, /devlink port function set pci\/0000:3b:00\.0\/PORT migratable enable/);
  });

  it("has no vGPU type yet, and stays with its vendor's driver", () => {
    const type = `${FOLDER}/nvidia/current_vgpu_type`;
    const { code, message, hint } = firstReason(
      host({ driver: "nvidia", texts: { [type]: "0\n" } }),
      false,
    );
    assert.equal(code, "no-vgpu-type");
    assert.match(message, /no vGPU type \(nvidia\/current_vgpu_type is 0\)/);
    assert.match(
      hint,
      /creatable_vgpu_types\), and choose one by its number: echo NUMBER > .*current_vgpu_type/,
    );
    const chosen = firstReason(host({ driver: "nvidia", texts: { [type]: "558\n" } }), false);
    assert.match(chosen.message, /has the vGPU type 558, and its driver "nvidia" has made no VFIO/);
    for (const text of [hint, chosen.hint]) assert.doesNotMatch(text, /unbind|driver_override/);
  });

  it("prints its vGPU type as part of its identity", () => {
    const kernel = host({
      driver: "nvidia",
      texts: {
        [`${FOLDER}/nvidia/current_vgpu_type`]: "558\n",
        [`${FOLDER}/vfio-dev/vfio0/uevent`]: "",
      },
    });
    assert.equal(probe(ADDRESS, { kernel }).identity?.vgpuType, "558");
  });
});
