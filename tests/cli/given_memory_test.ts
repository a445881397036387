import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { describe, it } from "node:test";
import { checkpoint } from "../../cli/specs/checkpoint/checkpoint.ts";
import { migrate } from "../../cli/specs/migrate/migrate.ts";
import { receive } from "../../cli/specs/migrate/receive.ts";
import { restore } from "../../cli/specs/save_restore.ts";
import { CheckpointChain } from "../../src/live/mod.ts";
import { openDevice } from "../../src/migration/device.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { command, type Outcome, projectFile, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { receiving } from "./_receiving.ts";

const SIZE = 256 * 1024;
const RANGE = "0x100000:256KiB";

/** Files of random bytes, each page another. */
function memoryFile(path: string, seed: number): string {
  const bytes = new Uint8Array(SIZE);
  for (let at = 0; at < SIZE; at += 4096) bytes.fill(1 + (at / 4096 * 7 + seed) % 255, at, at + 99);
  writeFileSync(path, bytes);
  return path;
}

it("devices whose memory is at other IOVAs are restored together", async () => {
  using folder = new Folder();
  const specs = ["sim:mlx5?size=64KiB", "sim:mlx5?size=64KiB&seed=2"];
  const chain = folder.file("chain");
  {
    await using devices = await openDevices(specs, {
      each: [0x100000n, 0x200000n].map((iova) => ({ maps: [{ iova, size: 4096n }] })),
    });
    await using taking = new CheckpointChain(devices, chain);
    await taking.take();
  }
  const { code, err } = await vfiokit(["restore", ...specs, chain], {
    permissions: restore.permissions,
  });
  assert.equal(code, 0, err);
});

describe("--map IOVA:SIZE@FILE", () => {
  it("moves memory from a program's file to another's", async () => {
    using folder = new Folder();
    const here = memoryFile(folder.file("here"), 1);
    const there = memoryFile(folder.file("there"), 100);
    const socket = `unix:${folder.file("socket")}`;
    const journal = ["--journal", folder.file("journal")];
    const device = "sim:mlx5?size=64KiB";
    let moved: Outcome | null = null;
    const taken = await receiving(
      [device, "--listen", socket, "--map", `${RANGE}@${there}`, ...journal],
      async () => {
        moved = await vfiokit([
          ...["migrate", `${device}&dma=random:500/s`, "--map", `${RANGE}@${here}`],
          ...["--to", socket, "--downtime", "10min", ...journal],
        ], { permissions: migrate.permissions });
      },
    );
    assert.equal(moved!.code, 0, moved!.err);
    assert.equal(taken.code, 0, taken.err);
    const bytes = readFileSync(here);
    assert.deepEqual(readFileSync(there), bytes);
    // The device wrote there, too.
    assert.notDeepEqual(bytes, readFileSync(memoryFile(folder.file("as it was"), 1)));
  });

  it("takes a checkpoint of memory that is an inherited fd, at an offset", async () => {
    using folder = new Folder();
    const file = memoryFile(folder.file("memory"), 3);
    const fd = openSync(file, "r+");
    const [program, ...before] = command({ permissions: checkpoint.permissions });
    const chain = folder.file("chain");
    const map = "0x100000:64KiB@fd:3,offset=128KiB";
    const child = spawn(program, [
      ...[...before, "checkpoint", "sim:mlx5?size=64KiB", "--map", map, "-o", chain],
    ], { stdio: ["ignore", "ignore", "inherit", fd] });
    assert.equal(await new Promise((resolve) => child.once("exit", resolve)), 0);
    closeSync(fd);
    const restored = await vfiokit([
      ...["restore", "sim:mlx5?size=64KiB", chain, "--", "sh", "-c"],
      'cat /proc/self/fd/"$VFIOKIT_MEMORY_FD"',
    ]);
    assert.equal(restored.code, 0, restored.err);
    assert.deepEqual(
      new Uint8Array(restored.stdout.subarray(0, 64 * 1024)),
      new Uint8Array(readFileSync(file).subarray(128 * 1024, 192 * 1024)),
    );
  });

  it("restores memory to files, from a folder of checkpoints and from a full one", async () => {
    using folder = new Folder();
    const chain = folder.file("chain");
    const name = "sim:mlx5?size=64KiB";
    const bytes = readFileSync(memoryFile(folder.file("here"), 5));
    const [first, second] = [bytes.subarray(0, SIZE / 2), bytes.subarray(SIZE / 2)];
    {
      const maps = [{ iova: 0x100000n, size: 0x20000n }, { iova: 0x800000n, size: 0x20000n }];
      await using device = await openDevice(name, { maps, tracker: "auto" });
      await using taking = new CheckpointChain(device, chain);
      await device.writeMemory(0x100000n, new Uint8Array(second));
      await taking.take();
      await device.writeMemory(0x800000n, new Uint8Array(first));
      await taking.take();
    }
    const [low, high] = ["0x100000:128KiB", "0x800000:128KiB"];
    const there = memoryFile(folder.file("there"), 100);
    const other = memoryFile(folder.file("other"), 200);
    const before = readFileSync(other);
    const fd = openSync(other, "r+");
    const [program, ...options] = command({ permissions: restore.permissions });
    // Each range lies where --map says; a range without a file gets new memory.
    const full = ["restore", name, `${chain}/000000.vfk`, "--map", `${low}@fd:3`, "-q"];
    const child = spawn(program, [...options, ...full], {
      stdio: ["ignore", "ignore", "inherit", fd],
    });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const both = ["--map", `${high}@${there}`, "--map", `${low}@${there},offset=128KiB`];
    const restored = await vfiokit(["restore", name, chain, ...both], {
      permissions: restore.permissions,
    });
    assert.equal(restored.code, 0, restored.err);
    assert.deepEqual(readFileSync(there), bytes);
    assert.equal(await ended, 0);
    closeSync(fd);
    assert.deepEqual(readFileSync(other), Buffer.concat([second, before.subarray(SIZE / 2)]));
    await Promise.all(([
      [chain, `0:4KiB@${there}`, /the checkpoint has 0x100000:0x20000, 0x800000:0x20000/],
      [projectFile("fixtures/checkpoints/version-1.vfk"), `${low}@${there}`, /all of a device's m/],
    ] as const).map(async ([file, map, message]) => {
      const { code, err } = await vfiokit(["restore", name, file, "--map", map]);
      assert.match(err, message);
      assert.equal(code, 2, err);
    }));
    assert.deepEqual(readFileSync(there), bytes);
  });

  it("is refused where it does not fit, before a device is touched", async () => {
    using folder = new Folder();
    const file = memoryFile(folder.file("memory"), 1);
    const to = ["--to", "unix:/nowhere", "--journal", folder.file("journal")];
    const map = `${RANGE}@${file}`;
    const listen = ["--listen", "-", "--journal", folder.file("journal")];
    for (
      const [words, code, message] of [
        [["migrate", "sim:mlx5", "sim:mlx5", "--map", map, ...to], 2, /2 devices the same file/],
        [["migrate", "sim:mlx5", "--map", `${RANGE}@`, ...to], 2, /Expected a range such as/],
        [
          ["migrate", "sim:mlx5", "--map", `${map},offset=1x`, ...to],
          2,
          /Expected a range such as/,
        ],
        [
          ["migrate", "sim:mlx5", "--map", `0:1MiB@${file}`, ...to],
          2,
          /it ends before byte 1048576/,
        ],
        [["migrate", "sim:mlx5", "--map", `${RANGE}@fd:99`, ...to], 1, /fd 99 .*\(EBADF\)/],
        [
          ["receive", "sim:mlx5", "--map", RANGE, ...listen],
          2,
          /Expected a file for 0x100000:0x40000/,
        ],
      ] as const
    ) {
      const { code: ended, err } = await vfiokit(words);
      assert.match(err, message);
      assert.equal(ended, code, err);
    }
  });

  it("refuses memory for a range that the source does not have, and the source runs on", async () => {
    using folder = new Folder();
    const there = memoryFile(folder.file("there"), 1);
    const socket = `unix:${folder.file("socket")}`;
    const journal = ["--journal", folder.file("journal")];
    const device = "sim:mlx5?size=64KiB";
    let moved: Outcome | null = null;
    const taken = await receiving(
      [device, "--listen", socket, "--map", `0x200000:256KiB@${there}`, ...journal],
      async () => {
        const words = ["migrate", device, "--map", RANGE, "--to", socket, ...journal];
        moved = await vfiokit(words, { permissions: migrate.permissions });
      },
      receive.permissions,
    );
    assert.equal(taken.code, 2, taken.err);
    assert.match(taken.err, /--map gives for 0x200000:0x40000: the device .* has 0x100000:0x40000/);
    assert.equal(moved!.code, 1);
    assert.match(moved!.err, /the device is running/);
  });
});
