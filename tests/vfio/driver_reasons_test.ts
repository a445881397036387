import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { describe, it } from "node:test";
import { probe } from "../../src/vfio/probe.ts";
import type { Reason } from "../../src/vfio/reasons/unsupported.ts";
import type { FakeKernel } from "./_fake_kernel.ts";
import { ADDRESS, fakeVfio, FOLDER } from "./_fake_vfio.ts";

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
  /** Runs them in a shell, over files in place of sysfs; returns what was written to which. */
  function run(hint: string, driver: string, loads: boolean): Record<string, string | null> {
    const root = fs.mkdtempSync(path.join(tmpdir(), "vfiokit-bind-"));
    try {
      const device = `/sys/bus/pci/devices/${ADDRESS}`;
      for (const folder of [`${device}/driver`, DRIVERS, "/bin"]) {
        fs.mkdirSync(root + folder, { recursive: true });
      }
      const load = loads ? `mkdir -p ${root}${DRIVERS}/${driver}` : "exit 1";
      fs.writeFileSync(`${root}/bin/modprobe`, `#!/bin/sh\n${load}\n`, { mode: 0o755 });
      spawnSync("sh", ["-c", hint.replaceAll("/sys/", `${root}/sys/`)], {
        env: { PATH: `${root}/bin:/usr/bin:/bin` },
      });
      const read = (name: string): string | null =>
        fs.existsSync(root + name) ? fs.readFileSync(root + name, "utf8") : null;
      return {
        override: read(`${device}/driver_override`),
        unbind: read(`${device}/driver/unbind`),
        probe: read("/sys/bus/pci/drivers_probe"),
      };
    } finally {
      fs.rmSync(root, { recursive: true });
    }
  }

  const table: readonly (readonly [module: string, driver: string])[] = [
    ["xe_vfio_pci", "xe-vfio-pci"],
    ["mlx5_vfio_pci", "mlx5_vfio_pci"],
    ["hisi_acc_vfio_pci", "hisi-acc-vfio-pci"],
  ];
  for (const [module, driver] of table) {
    it(`name the driver as it is called: module ${module}, driver ${driver}`, () => {
      const setup = { modules: "/lib/modules", aliases: `alias ${IDS} ${module}\n` };
      for (const bound of [undefined, "host", "vfio-pci"]) {
        const { hint } = bound === "vfio-pci" ? ofPlain(setup) : firstReason(
          host({ ...(bound === undefined ? {} : { driver: bound }), ...setup }),
          false,
        );
        assert.deepEqual(run(hint, driver, true), {
          override: `${driver}\n`,
          unbind: bound === undefined ? null : `${ADDRESS}\n`,
          probe: `${ADDRESS}\n`,
        });
      }
    });
  }

  it("leave the device where it is if the module does not load", () => {
    const { hint } = ofPlain({
      modules: "/lib/modules",
      aliases: `alias ${IDS} xe_vfio_pci\n`,
    });
    assert.deepEqual(run(hint, "xe-vfio-pci", false), {
      override: null,
      unbind: null,
      probe: null,
    });
  });

  it("are commands, whatever is said beside them", () => {
    const { hint } = firstReason(host({ driver: "host" }), false);
    assert.match(hint, /# to migrate it, name its vendor's VFIO driver in place of vfio-pci$/);
    assert.doesNotMatch(hint, /modprobe/);
    assert.deepEqual(run(hint, "vfio-pci", false), {
      override: "vfio-pci\n",
      unbind: `${ADDRESS}\n`,
      probe: `${ADDRESS}\n`,
    });
  });

  it("load nothing where the driver is there, whatever its name", () => {
    const { message, hint } = ofPlain({
      drivers: { "Other Name": "xe_vfio_pci" },
      modules: "/lib/modules",
      aliases: `alias ${IDS} xe_vfio_pci\n`,
    });
    assert.match(message, /made for it is "Other Name"/);
    assert.match(hint, /^echo Other Name > /);
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

  it("is found where a distribution keeps its modules", () => {
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

  it("is none only where all that could name it was read", () => {
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
      /migrates in no release of Linux that is known here/,
    );
  });
});

describe("a function that is not the one to migrate, or not set up for it", () => {
  const PF = { texts: { [`${FOLDER}/sriov_totalvfs`]: "8\n" } };

  it("is told of: a physical one has virtual ones", () => {
    const { code, message, hint } = ofPlain(PF);
    assert.equal(code, "physical-function");
    assert.match(message, /a physical function, with up to 8 virtual ones: those migrate/);
    assert.match(hint, /echo 1 > .*\/sriov_numvfs/);
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
    assert.match(hint, /leave it to "mlx5_core", make some/);
    assert.doesNotMatch(hint, /unbind/);
  });

  it("has a switch for migration, where its driver has one", () => {
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
    assert.match(hint, /creatable_vgpu_types; and choose one.*echo NUMBER > .*current_vgpu_type/);
    const chosen = firstReason(host({ driver: "nvidia", texts: { [type]: "558\n" } }), false);
    assert.match(chosen.message, /has the vGPU type 558, and its driver "nvidia" has made no VFIO/);
    for (const text of [hint, chosen.hint]) assert.doesNotMatch(text, /unbind|driver_override/);
  });

  it("tells its vGPU type as a part of what it is", () => {
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
