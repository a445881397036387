/**
 * Why a device cannot be opened, as a real kernel refuses it; by which names it
 * is found; and what a container keeps of a group that left.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import {
  DeviceNameError,
  DmaError,
  DmaMemory,
  Group,
  Type1Container,
} from "../../../../src/vfio/mod.ts";
import { libcKernel } from "../../../../src/kernel/mod.ts";
import { probe } from "../../../../mod.ts";
import { lacksCdevs } from "../cdev.ts";
import { HOST_DRIVER, withEdu, withHostDriver } from "../edu.ts";
import type { Case } from "../harness.ts";

/** Whether this kernel's IOMMU remaps interrupts, as the names of the controllers tell. */
function remaps(): boolean {
  return /\bIR-/.test(readFileSync("/proc/interrupts", "utf8"));
}

function lacksRemapping(): string | null {
  return remaps() ? null : "interrupts are not remapped (--append intremap=off)";
}

/** From 5.18 on a driver may manage DMA by itself, which sysfs does not show. */
function driversAreCounted(): boolean {
  const [major, minor] = readFileSync("/proc/sys/kernel/osrelease", "utf8").split(".").map(Number);
  return major! > 5 || (major === 5 && minor! >= 18);
}

function groupOf(address: string): number {
  return Number(readlinkSync(`/sys/bus/pci/devices/${address}/iommu_group`).split("/").at(-1));
}

const refused: readonly Case[] = [
  {
    name: "opening: a driver of the host in the group is named, by either way",
    lacks: lacksRemapping,
    run: () =>
      withHostDriver(async (address, holder) => {
        await Promise.resolve();
        const ways = lacksCdevs() === null
          ? ["group", "cdev", "auto"] as const
          : ["group"] as const;
        for (const via of ways) {
          const { reasons, migratable } = probe(address, { via });
          assert.deepEqual(reasons.map(({ code }) => code), ["group-not-viable"]);
          assert.match(reasons[0]!.message, new RegExp(`held by ${holder} \\(${HOST_DRIVER}\\)$`));
          assert.equal(migratable, false);
        }
        const { reasons } = probe(address, { open: false });
        assert.deepEqual(reasons.map(({ code, blocks }) => [code, blocks]), [
          driversAreCounted() ? ["group-viability-unknown", false] : ["group-not-viable", true],
          ["needs-variant-driver", true],
        ]);
        assert.ok(reasons[0]!.message.includes(`${holder} (${HOST_DRIVER})`));
      }),
  },
  {
    name: "opening: an IOMMU that does not remap interrupts is told of, by either way",
    lacks: () => remaps() ? "this IOMMU remaps interrupts (not with --append intremap=off)" : null,
    run: () =>
      withEdu(async (address) => {
        await Promise.resolve();
        const ways = lacksCdevs() === null ? ["group", "cdev"] as const : ["group"] as const;
        for (const via of ways) {
          const { reasons } = probe(address, { via });
          assert.deepEqual(reasons.map(({ code }) => code), ["unsafe-interrupts"]);
          assert.match(reasons[0]!.hint, /^Turn interrupt remapping on/);
        }
      }),
  },
];

const names: readonly Case[] = [
  {
    name: "opening: a device is found by what VFIO made of it; a group says which devices it has",
    lacks: lacksRemapping,
    run: () =>
      withEdu(async (address) => {
        await Promise.resolve();
        const group = groupOf(address);
        for (const name of [`/dev/vfio/${group}`, `/sys/kernel/iommu_groups/${group}`]) {
          assert.throws(() => probe(name), (error) => {
            assert.ok(error instanceof DeviceNameError);
            assert.match(error.message, new RegExp(`no device: it has ${address} \\(vfio-pci\\)$`));
            return true;
          });
        }
        let made: string[];
        try {
          made = readdirSync(`/sys/bus/pci/devices/${address}/vfio-dev`);
        } catch {
          // Before 6.1 VFIO shows nothing of the kind.
          made = [];
        }
        for (const name of made) {
          for (const path of [name, `/dev/vfio/devices/${name}`, `/sys/class/vfio-dev/${name}`]) {
            const { opened, group: number } = probe(path);
            assert.deepEqual([opened, number], [true, group]);
          }
        }
      }),
  },
];

const container: Case = {
  name: "opening: a container whose last group has left has lost its IOMMU, and knows it",
  lacks: lacksRemapping,
  run: () =>
    withEdu(async (address) => {
      await Promise.resolve();
      const kernel = libcKernel();
      using memory = DmaMemory.allocate(kernel, 4096);
      const page = { iova: 0x10000n, size: 4096n, vaddr: memory.address, flags: 3 };
      using container = Type1Container.open(kernel);
      for (let round = 0; round < 2; round += 1) {
        {
          using group = Group.open(kernel, `/dev/vfio/${groupOf(address)}`);
          container.attach(group);
          using _device = group.openDevice(address);
          assert.deepEqual(container.mappings, []);
          container.map(page);
          assert.equal(container.mappings.length, 1);
          assert.equal(container.hasIommu, true);
        }
        assert.equal(container.hasIommu, false);
        assert.deepEqual(container.mappings, []);
        assert.throws(() => container.map(page), (error) => {
          assert.ok(error instanceof DmaError);
          assert.match(error.message, /no group is in the container/);
          return true;
        });
        assert.equal(container.unmap(page.iova, page.size), 0n);
      }
    }),
};

/** The driver that has a device; null if none has. */
function driverOf(address: string): string | null {
  try {
    return readlinkSync(`/sys/bus/pci/devices/${address}/driver`).split("/").at(-1)!;
  } catch {
    return null;
  }
}

function shell(command: string): number | null {
  return spawnSync("sh", ["-c", command], { stdio: "ignore" }).status;
}

const commands: readonly Case[] = [
  {
    name: "opening: the printed commands take a device from its driver, as they stand",
    lacks: lacksRemapping,
    run: () =>
      withHostDriver(async (_address, holder) => {
        await Promise.resolve();
        const [reason] = probe(holder, { open: false }).reasons;
        assert.equal(reason?.code, "not-bound-to-vfio");
        assert.equal(shell(reason!.hint), 0, reason!.hint);
        assert.equal(driverOf(holder), "vfio-pci");
      }),
  },
  {
    name: "opening: the printed commands give a device back that the new driver does not take",
    lacks: lacksRemapping,
    run: () =>
      withHostDriver(async (_address, holder) => {
        await Promise.resolve();
        const { hint } = probe(holder, { open: false }).reasons[0]!;
        const command = hint.replace(/(echo|printf '%s\\n') vfio-pci > /, "echo no-such-driver > ");
        assert.notEqual(command, hint);
        assert.notEqual(shell(command), 0);
        assert.equal(driverOf(holder), HOST_DRIVER);
        // A module that brings no driver takes nothing either.
        const module = hint.replace(
          /^.*?&& /,
          "true && driver=$(ls -d /sys/module/vfio/drivers/pci:*) && ",
        );
        assert.notEqual(shell(module), 0);
        assert.equal(driverOf(holder), HOST_DRIVER);
      }),
  },
  {
    name: "opening: a PCI bridge and the machine's own bridges are not to be bound",
    run: async () => {
      await Promise.resolve();
      const bridges = readdirSync("/sys/bus/pci/devices").filter((address) =>
        /^0x06(00|01|04)/.test(readFileSync(`/sys/bus/pci/devices/${address}/class`, "utf8"))
      );
      assert.ok(bridges.length > 0);
      for (const address of bridges) {
        const { reasons, migratable } = probe(address);
        assert.deepEqual(reasons.map(({ code }) => code), ["bridge"], address);
        assert.doesNotMatch(reasons[0]!.hint, /driver_override|bind/);
        assert.equal(migratable, false);
      }
    },
  },
  {
    name: "opening: where VFIO's groups cannot be opened, the errno has a reason",
    lacks: lacksRemapping,
    run: () =>
      withEdu(async (address) => {
        await Promise.resolve();
        using _held = Group.open(libcKernel(), `/dev/vfio/${groupOf(address)}`);
        const { reasons } = probe(address, { via: "group" });
        assert.deepEqual(reasons.map(({ code }) => code), ["busy"]);
        assert.match(reasons[0]!.message, /in use by \S+ \(pid \d+\)/);
      }),
  },
];

/** The cases. */
export const cases: readonly Case[] = [...refused, ...names, ...commands, container];
