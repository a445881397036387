/**
 * Devices opened by their own character devices, with memory in an IOAS: where
 * the kernel has them, which no stock kernel of Debian's does.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import {
  BusyError,
  DirtySession,
  libcKernel,
  MappedDevice,
  openVfioDevices,
  parseDeviceName,
  probe,
  UnsupportedError,
  VFIO_DMA_MAP_FLAG_READ,
} from "../../../../mod.ts";
import { type DeviceType, type GuestDevice, lacks, TYPES, withPair } from "../device.ts";
import { withEdu, withSiblings } from "../edu.ts";
import type { Case } from "../harness.ts";
import { restoreFrom, saveTo } from "../library.ts";
import {
  askTable,
  bun,
  deno,
  expectExit,
  lastJson,
  quoted,
  type Runtime,
  vfiokit,
  wholeJson,
} from "../programs.ts";

const PAGE = 4096n;
const MAPS = [{ iova: 0x100000n, size: 64n * PAGE }, { iova: 1n << 32n, size: 16n * PAGE }];

/** Why nothing of this can be shown here. */
function lacksCdevs(): string | null {
  if (!existsSync("/dev/iommu")) return "this kernel has no /dev/iommu (CONFIG_IOMMUFD)";
  return /^ *\d+ vfio-dev$/m.test(readFileSync("/proc/devices", "utf8"))
    ? null
    : "this kernel has no character devices of devices (CONFIG_VFIO_DEVICE_CDEV)";
}

/** A case of this file, with a pair of the guest driver's devices. */
function withDevices(
  name: string,
  type: DeviceType,
  run: (first: GuestDevice, second: GuestDevice, folder: string) => Promise<void>,
): Case {
  return {
    name: `cdev: ${name}`,
    lacks: () => lacksCdevs() ?? lacks(type),
    run: (folder) => withPair(type, { size: 1 << 20 }, (...pair) => run(...pair, folder)),
  };
}

/** A case with QEMU's edu, behind the emulated IOMMU. */
function withFunction(name: string, run: (address: string) => Promise<void>): Case {
  return { name: `cdev: behind an IOMMU: ${name}`, lacks: lacksCdevs, run: () => withEdu(run) };
}

function refusal<T extends Error>(kind: new (...args: never[]) => T, run: () => Disposable): T {
  try {
    run()[Symbol.dispose]();
  } catch (error) {
    assert.ok(error instanceof kind, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: "it was opened" });
}

function byte({ memory }: MappedDevice, offset: number): number {
  const bytes = new Uint8Array(1);
  memory!.mapping.read(offset, bytes);
  return bytes[0]!;
}

const table: readonly Case[] = [
  withDevices(
    "every call answers as the simulator does: a mediated device",
    "trapped",
    (device) => askTable("tests/vfio/cdev_answers.ts", 100, device.uuid, "--dma", device.dmaFile),
  ),
  withFunction(
    "every call answers as the simulator does",
    (address) => askTable("tests/vfio/cdev_answers.ts", 90, address, "--hardware"),
  ),
];

const opening: readonly Case[] = [
  withDevices("probe: it is opened by its node, unless another way is asked for", "trapped", async (
    { uuid },
  ) => {
    const { access, migratable, reasons, dirty } = probe(uuid);
    assert.equal(access.way, "cdev");
    assert.match(access.cdev!, /^\/dev\/vfio\/devices\/vfio\d+$/);
    assert.deepEqual([access.iommufd, migratable, dirty.tracks, reasons], [
      "/dev/iommu",
      true,
      null,
      [],
    ]);
    const group = probe(uuid, { via: "group" });
    assert.deepEqual([group.access.way, group.dirty.tracks], ["group", true]);
    const closed = probe(uuid, { open: false }).access;
    assert.deepEqual([closed.way, closed.cdev], [null, access.cdev]);
    const { stdout } = await expectExit(0, [...vfiokit(bun), "probe", uuid]);
    assert.match(stdout, /opened {3}by its character device \(\/dev\/vfio\/devices\/vfio\d+, /);
  }),
  withDevices("busy: by its node or by its group, and it is said by whom", "trapped", async (
    { uuid },
  ) => {
    await Promise.resolve();
    const kernel = libcKernel();
    const open = (via: "cdev" | "group"): Disposable => {
      const [device] = openVfioDevices(kernel, [parseDeviceName(uuid)], { via });
      return device!;
    };
    for (const held of ["cdev", "group"] as const) {
      using _held = open(held);
      for (const via of ["cdev", "group"] as const) {
        const { holders } = refusal(BusyError, () => open(via));
        assert.deepEqual(holders.map(({ pid }) => pid), [process.pid], `${via} over ${held}`);
      }
    }
    open("cdev")[Symbol.dispose]();
  }),
  ...[deno, bun].map((runtime) => inherited(runtime)),
];

function inherited(runtime: Runtime): Case {
  const name = runtime === deno ? "Deno" : "Bun";
  return withDevices(`a program inherits device and iommufd, in ${name}`, "trapped", async (
    { uuid },
    _second,
    folder,
  ) => {
    const script = 'for fd in 3 4; do readlink /proc/self/fd/$fd; done > "$1/fds"; ' +
      'echo "$VFIOKIT_DEVICE_FD $VFIOKIT_GROUP_FD- $VFIOKIT_IOMMUFD_FD $VFIOKIT_IOAS_ID" ' +
      '> "$1/variables"; ' + quoted([...vfiokit(runtime), "state", "fd:3", "--json"]);
    const words = [...vfiokit(runtime), "with", uuid, "--", "sh", "-c", script, "sh", folder];
    const { state } = wholeJson<{ state: string }>(await expectExit(0, words));
    assert.equal(state, "running");
    const [device, iommufd] = readFileSync(`${folder}/fds`, "utf8").trim().split("\n");
    assert.match(device!, /^\/dev\/vfio\/devices\/vfio\d+$/);
    assert.equal(iommufd, "/dev/iommu");
    const variables = readFileSync(`${folder}/variables`, "utf8").trim();
    assert.match(variables, /^3 - 4 \d+$/);
    // A node that nobody bound is told from what is no device at all.
    const unbound = [...vfiokit(runtime), "probe", "fd:7", "--json"];
    const opened = `exec 7<>${device}; ${quoted(unbound)}`;
    const { reasons } = wholeJson<{ reasons: { code: string }[] }>(
      await expectExit(3, ["sh", "-c", opened]),
    );
    assert.deepEqual(reasons.map(({ code }) => code), ["cdev-not-bound"]);
  });
}

const memory: readonly Case[] = [
  withDevices("what the device writes is in the memory that was mapped", "trapped", async (
    { uuid, dmaFile },
  ) => {
    await Promise.resolve();
    using mapped = MappedDevice.open(uuid, { maps: MAPS });
    assert.equal(mapped.device.way, "cdev");
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
  withDevices("two devices, one iommufd, and an address space for each", "trapped", async (
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
    assert.equal(device.way, "cdev");
    assert.equal(space.info().iovaRanges?.length, 2);
    const { vaddr, size } = { vaddr: mapped.memory!.address, size: PAGE };
    assert.throws(
      () => space.map({ iova: 0xfee00000n, size, vaddr, flags: 3 }),
      /the IOMMU does not reach that far: it maps 0x0-0xfedfffff, .*\(EINVAL\)$/,
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
          assert.deepEqual(devices.map(({ way }) => way), ["cdev", "cdev"]);
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
  withDevices(
    "a device's own log is reported for memory in an IOAS",
    "v2-p2p",
    async ({ uuid, dmaFile }) => {
      await Promise.resolve();
      using session = DirtySession.open(uuid, LOGGED);
      const { tracker, device } = session;
      assert.deepEqual([tracker.name, device.way], ["device", "cdev"]);
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
  withDevices(
    "a program that inherits the iommufd maps memory in it, and reads the device's log",
    "v2-p2p",
    async ({ uuid, dmaFile }) => {
      const get = [...vfiokit(bun), "dirty", "get", "fd:3", "--iommufd-fd", "4", "--json"];
      const script = `${quoted(get)} --map 0x100000:1MiB --ioas "$VFIOKIT_IOAS_ID" -- ` +
        `sh -c 'echo write 0x105000 3 > ${dmaFile}'`;
      const words = [...vfiokit(), "with", uuid, "--", "sh", "-c", script];
      const found = wholeJson<{ tracker: string; runs: unknown }>(await expectExit(0, words));
      assert.deepEqual([found.tracker, found.runs], ["device", [["0x105000", 0x3000]]]);
    },
  ),
  withDevices(
    "type1 tracks where it is opened by its group, and is refused over an IOAS",
    "trapped",
    async (
      { uuid, dmaFile },
    ) => {
      await Promise.resolve();
      {
        using session = DirtySession.open(uuid, { maps: MAPS });
        assert.deepEqual([session.tracker.name, session.device.way], ["type1", "group"]);
        session.tracker.start();
        writeFileSync(dmaFile, "write 0x105000 1");
        assert.deepEqual([...session.tracker.read().runs()], [{ iova: 0x105000n, size: PAGE }]);
      }
      const { reasons } = refusal(
        UnsupportedError,
        () => DirtySession.open(uuid, { maps: MAPS, via: "cdev" }),
      );
      assert.deepEqual(reasons.map(({ code }) => code), ["no-device-log", "no-type1-container"]);
    },
  ),
];

const transfers: readonly Case[] = ([...TYPES, "v2", "v2-full"] as const).map((type) =>
  withDevices(`${type}: saved and restored over an iommufd: equal`, type, async (
    first,
    second,
    folder,
  ) => {
    assert.equal(probe(first.uuid).access.way, "cdev");
    const saved = await saveTo(`${folder}/checkpoint`, first, type === "v2" ? undefined : {});
    const restored = await restoreFrom(`${folder}/checkpoint`, second);
    assert.equal(restored.window.crc, saved.window.crc);
  })
);

const commands: readonly Case[] = [
  withDevices("save and restore as commands, from one way into the other", "mapped", async (
    first,
    second,
    folder,
  ) => {
    const file = `${folder}/checkpoint`;
    const save = [...vfiokit(), "save", first.uuid, "--via", "cdev", "-o", file, "--json"];
    const { bytes } = wholeJson<{ bytes: number }>(await expectExit(0, save));
    assert.ok(bytes >= 1 << 20);
    const restore = [...vfiokit(bun), "restore", second.uuid, "--via", "group", file, "--json"];
    const ended = await expectExit(0, [...restore, "--", "window"]);
    assert.equal(lastJson<{ differs: boolean }>({ ...ended, stdout: ended.stderr }).differs, true);
  }),
];

/** The cases. */
export const cases: readonly Case[] = [
  ...table,
  ...opening,
  ...memory,
  ...siblings,
  ...tracking,
  ...transfers,
  ...commands,
];
