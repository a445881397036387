/**
 * Memory in an IOAS: what devices that are opened by their own nodes write to,
 * and what is dirty of it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { BusyError, UnsupportedError } from "../../../../mod.ts";
import { DirtySession, MappedDevice } from "../../../../src/dirty/mod.ts";
import { libcKernel } from "../../../../src/kernel/mod.ts";
import { openVfioDevices, parseDeviceName } from "../../../../src/vfio/mod.ts";
import { VFIO_DMA_MAP_FLAG_READ } from "../../../../src/uapi/mod.ts";
import { lacksCdevs, MAPS, PAGE, refusal, withCdevs, withFunction } from "../cdev.ts";
import { withSiblings } from "../edu.ts";
import type { Case } from "../harness.ts";
import { bun, expectExit, quoted, vfiokit } from "../programs.ts";

function byte({ memory }: MappedDevice, offset: number): number {
  const bytes = new Uint8Array(1);
  memory!.mapping.read(offset, bytes);
  return bytes[0]!;
}

const memory: readonly Case[] = [
  withCdevs("what the device writes is in the memory that was mapped", "trapped", async (
    { uuid, dmaFile },
  ) => {
    await Promise.resolve();
    using mapped = MappedDevice.open(uuid, { maps: MAPS });
    assert.equal(mapped.device.via, "cdev");
    const order = (text: string): void => writeFileSync(dmaFile, text);
    order("write 0x103000 2");
    order("write 0x100001000 1");
    const second = Number(MAPS[0]!.size);
    assert.deepEqual(
      [0x2000, 0x3000, 0x4000, 0x5000, second, second + 0x1000].map((at) => byte(mapped, at)),
      [0, 1, 1, 0, 0, 1],
    );
    // What is pinned is let go of where it is unmapped.
    order("pin 0x100000 5");
    assert.equal(mapped.space.unmap(0x100000n, MAPS[0]!.size), MAPS[0]!.size);
    assert.throws(() => order("write 0x103000 1"), { code: "ENOENT" });
    order("write 0x100002000 1");
    assert.equal(byte(mapped, second + 0x2000), 1);
  }),
  withCdevs("two devices, one iommufd, and an address space for each", "trapped", async (
    first,
    second,
  ) => {
    await Promise.resolve();
    const kernel = libcKernel();
    const names = [first.uuid, second.uuid].map(parseDeviceName);
    const devices = openVfioDevices(kernel, names);
    try {
      const [one, other] = devices.map(({ ioas }) => ioas!);
      assert.equal(one!.iommufd, other!.iommufd);
      assert.notEqual(one!.id, other!.id);
      using ram = kernel.mmap(Number(PAGE), { prot: 3, flags: 0x22 });
      one!.map({ iova: 0n, size: PAGE, vaddr: ram.address, flags: 3 });
      writeFileSync(first.dmaFile, "write 0x0 1");
      assert.throws(() => writeFileSync(second.dmaFile, "write 0x0 1"), { code: "ENOENT" });
      other!.map({ iova: 0n, size: PAGE, vaddr: ram.address, flags: VFIO_DMA_MAP_FLAG_READ });
      assert.throws(() => writeFileSync(second.dmaFile, "write 0x0 1"), { code: "EPERM" });
      one!.unmap(0n, PAGE);
    } finally {
      for (const device of devices.reverse()) device.close();
    }
  }),
  withFunction("memory is mapped and taken back, and it is said what the IOMMU reaches", async (
    address,
  ) => {
    await Promise.resolve();
    using mapped = MappedDevice.open(address, { maps: MAPS });
    const { device, space } = mapped;
    assert.equal(device.via, "cdev");
    assert.equal(space.info().iovaRanges?.length, 2);
    const { vaddr, size } = { vaddr: mapped.memory!.address, size: PAGE };
    assert.throws(
      () => space.map({ iova: 0xfee00000n, size, vaddr, flags: 3 }),
      /0xfee00000-0xfeefffff is a hole \(the MSI window, .*: it maps 0x0-0xfedfffff, .*\(EINVAL\)$/,
    );
    assert.throws(
      () => space.map({ iova: 0n, size, vaddr: 0x10000n, flags: 3 }),
      /is not mapped in this process.*\(EFAULT\)$/,
    );
    assert.throws(() => space.unmap(0x100000n, PAGE), /would be cut.*\(ENOENT\)$/);
    assert.equal(space.unmap(0n, 1n << 40n), MAPS[0]!.size + MAPS[1]!.size);
    assert.deepEqual(mapped.mappings, []);
  }),
];

/** What a device's log tells of. */
const LOGGED = { maps: MAPS, via: "cdev", tracker: "device" } as const;

const siblings: readonly Case[] = [
  {
    name: "cdev: two functions of one group share an iommufd, and an IOAS",
    lacks: lacksCdevs,
    run: () =>
      withSiblings(async (...addresses) => {
        await Promise.resolve();
        const kernel = libcKernel();
        const names = addresses.map(parseDeviceName);
        const devices = openVfioDevices(kernel, names);
        try {
          assert.deepEqual(devices.map(({ via }) => via), ["cdev", "cdev"]);
          assert.equal(devices[0]!.ioas, devices[1]!.ioas);
          // To anybody else with an iommufd of their own either is in use.
          const { holders } = refusal(BusyError, () => MappedDevice.open(addresses[1]));
          assert.deepEqual(holders.map(({ pid }) => pid), [process.pid]);
        } finally {
          for (const device of devices.reverse()) device.close();
        }
        {
          using first = MappedDevice.open(addresses[0], { maps: MAPS });
          // Nor can the other one be bound elsewhere while one of them is.
          const { holders } = refusal(BusyError, () => MappedDevice.open(addresses[1]));
          assert.deepEqual(holders.map(({ pid }) => pid), [process.pid]);
          const { iommufd, id } = first.device.ioas!;
          const fds = { iommufdFd: iommufd.fd.number, ioasId: id };
          using second = MappedDevice.open(addresses[1], { ...fds, mappings: MAPS });
          assert.deepEqual(second.mappings, MAPS);
        }
        MappedDevice.open(addresses[1]).close();
      }),
  },
  {
    name: "cdev: by their group two functions share it, and its container, on any kernel",
    run: () =>
      withSiblings(async (...addresses) => {
        await Promise.resolve();
        const names = addresses.map(parseDeviceName);
        const devices = openVfioDevices(libcKernel(), names, { via: "group" });
        try {
          assert.equal(devices[0]!.group, devices[1]!.group);
          assert.equal(devices[0]!.container, devices[1]!.container);
          refusal(BusyError, () => MappedDevice.open(addresses[0]));
        } finally {
          for (const device of devices.reverse()) device.close();
        }
      }),
  },
];

const tracking: readonly Case[] = [
  withCdevs(
    "a device's own log is reported for memory in an IOAS",
    "v2-p2p",
    async ({ uuid, dmaFile }) => {
      await Promise.resolve();
      using session = DirtySession.open(uuid, LOGGED);
      const { tracker, device } = session;
      assert.deepEqual([tracker.name, device.via], ["device", "cdev"]);
      tracker.start();
      const order = (text: string): void => writeFileSync(dmaFile, text);
      order("write 0x103000 2");
      order("write 0x10000f000 1");
      assert.deepEqual([...tracker.read().runs()], [
        { iova: 0x103000n, size: 2n * PAGE },
        { iova: 0x10000f000n, size: PAGE },
      ]);
      assert.deepEqual([...tracker.read().runs()], []);
      order("write 0x104000 1");
      const { reading, unmapped, error } = tracker.unmapWithDirty(0x100000n, MAPS[0]!.size);
      assert.deepEqual([unmapped, error], [MAPS[0]!.size, null]);
      assert.deepEqual([...reading.runs()], [{ iova: 0x104000n, size: PAGE }]);
    },
  ),
  withCdevs(
    "a program that inherits the iommufd maps memory in it, and reads the device's log",
    "v2-p2p",
    async ({ uuid, dmaFile }) => {
      const reading = `/tmp/reading-${uuid}.json`;
      const json = `--json=${reading}`;
      const get = [...vfiokit(bun), "dirty", "get", "fd:3", "--iommufd-fd", "4", json];
      const script = `${quoted(get)} --map 0x100000:1MiB --ioas "$VFIOKIT_IOAS_ID" -- ` +
        `sh -c 'echo write 0x105000 3 > ${dmaFile}'`;
      const words = [...vfiokit(), "with", uuid, "--", "sh", "-c", script];
      await expectExit(0, words);
      const found = JSON.parse(readFileSync(reading, "utf8"));
      rmSync(reading);
      assert.deepEqual([found.tracker, found.runs], ["device", [["0x105000", 0x3000]]]);
    },
  ),
  withCdevs(
    "type1 tracks where it is opened by its group, and is refused over an IOAS",
    "trapped",
    async (
      { uuid, dmaFile },
    ) => {
      await Promise.resolve();
      {
        using session = DirtySession.open(uuid, { maps: MAPS });
        assert.deepEqual([session.tracker.name, session.device.via], ["type1", "group"]);
        session.tracker.start();
        writeFileSync(dmaFile, "write 0x105000 1");
        assert.deepEqual([...session.tracker.read().runs()], [{ iova: 0x105000n, size: PAGE }]);
      }
      const { reasons } = refusal(
        UnsupportedError,
        () => DirtySession.open(uuid, { maps: MAPS, via: "cdev" }),
      );
      assert.deepEqual(
        reasons.map(({ code }) => code),
        ["no-device-log", "no-iommufd-tracking", "no-type1-container"],
      );
    },
  ),
];

/** The cases. */
export const cases: readonly Case[] = [...memory, ...siblings, ...tracking];
