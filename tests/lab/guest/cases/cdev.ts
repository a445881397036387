/**
 * Devices opened by their own character devices: where the kernel has them,
 * which no stock kernel of Debian's does.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import process from "node:process";
import { BusyError, probe } from "../../../../mod.ts";
import { libcKernel } from "../../../../src/kernel/mod.ts";
import { openVfioDevices, parseDeviceName } from "../../../../src/vfio/mod.ts";
import { refusal, withCdevs, withFunction } from "../cdev.ts";
import { TYPES } from "../device.ts";
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

const table: readonly Case[] = [
  withCdevs(
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
  withCdevs("probe: it is opened by its node, unless another way is asked for", "trapped", async (
    { uuid },
  ) => {
    const { access, migratable, reasons, dirty } = probe(uuid);
    assert.equal(access.via, "cdev");
    assert.match(access.cdev!, /^\/dev\/vfio\/devices\/vfio\d+$/);
    assert.deepEqual([access.iommufd, migratable, dirty.tracks, reasons], [
      "/dev/iommu",
      true,
      null,
      [],
    ]);
    const group = probe(uuid, { via: "group" });
    assert.deepEqual([group.access.via, group.dirty.tracks], ["group", true]);
    const closed = probe(uuid, { open: false }).access;
    assert.deepEqual([closed.via, closed.cdev], [null, access.cdev]);
    const { stdout } = await expectExit(0, [...vfiokit(bun), "probe", uuid]);
    assert.match(stdout, /opened {3}by its character device \(\/dev\/vfio\/devices\/vfio\d+, /);
  }),
  withCdevs("busy: by its node or by its group, and it is said by whom", "trapped", async (
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
  return withCdevs(`a program inherits device and iommufd, in ${name}`, "trapped", async (
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

const transfers: readonly Case[] = ([...TYPES, "v2", "v2-full"] as const).map((type) =>
  withCdevs(`${type}: saved and restored over an iommufd: equal`, type, async (
    first,
    second,
    folder,
  ) => {
    assert.equal(probe(first.uuid).access.via, "cdev");
    const saved = await saveTo(`${folder}/checkpoint`, first, type === "v2" ? undefined : {});
    const restored = await restoreFrom(`${folder}/checkpoint`, second);
    assert.equal(restored.window.crc, saved.window.crc);
  })
);

const commands: readonly Case[] = [
  withCdevs("save and restore as commands, from one way into the other", "mapped", async (
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
    assert.equal(lastJson<{ differs: boolean }>(ended).differs, true);
  }),
];

/** The cases. */
export const cases: readonly Case[] = [
  ...table,
  ...opening,
  ...transfers,
  ...commands,
];
