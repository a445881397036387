import assert from "node:assert/strict";
import { existsSync, readdirSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { describe, it } from "node:test";
import { checkpoint } from "../../cli/specs/checkpoint/checkpoint.ts";
import { diff } from "../../cli/specs/checkpoint/diff.ts";
import { restore } from "../../cli/specs/save_restore.ts";
import { show, verify } from "../../cli/specs/verify_show.ts";
import { command, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { interrupted } from "./_interrupted.ts";

const DEVICE = "sim:mlx5?size=64KiB&dma=random:500/s";
const MAP = ["--map", "0x100000:256KiB"];

describe("vfiokit checkpoint", () => {
  it("takes checkpoints that restore, verify and show take, with the permissions that help names", async () => {
    using folder = new Folder();
    const at = folder.file("chain");
    const schedule = ["--every", "1ms", "--count", "3", "--full-every", "2"];
    const taken = await vfiokit(["checkpoint", DEVICE, ...MAP, ...schedule, "-o", at, "--json"], {
      permissions: checkpoint.permissions,
    });
    assert.equal(taken.code, 0, taken.err);
    const lines = taken.out.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(lines.map(({ number, kind }) => [number, kind]), [
      [0, "full"],
      [1, "increment"],
      [2, "full"],
    ]);
    assert.deepEqual(readdirSync(at).sort(), ["000000.vfk", "000001.vfk", "000002.vfk"]);
    assert.equal(statSync(at).mode & 0o777, 0o700);
    for (const line of lines) {
      assert.equal(line.schema, "vfiokit/checkpoint/1");
      assert.equal(line.storedBytes, statSync(line.file).size);
      assert.ok(line.stopSeconds > 0 && line.readBack);
      assert.deepEqual(line.devices.map(({ state }: { state: string }) => state), ["running"]);
    }
    const verified = await vfiokit(["verify", at, "--json"], { permissions: verify.permissions });
    assert.equal(verified.code, 0, verified.err);
    const { ok, lastGood, checkpoints } = JSON.parse(verified.out);
    assert.deepEqual([ok, lastGood, checkpoints.length], [true, 2, 3]);
    assert.deepEqual(checkpoints.map(({ previous }: { previous: unknown }) => previous), [
      null,
      0,
      null,
    ]);
    const shown = await vfiokit(["show", at], { permissions: show.permissions });
    assert.match(shown.out, /3 checkpoints, 3 of them can be restored, the last is 2/);
    assert.match(shown.out, /^ +1 +increment .* yes$/m);
    const one = await vfiokit(["show", `${at}@1`], { permissions: show.permissions });
    assert.equal(one.code, 0, one.err);
    assert.match(one.out, /000001\.vfk: a checkpoint/);
    assert.match(
      one.out,
      /number 1 of chain [0-9a-f]{32}: what changed since number 0 of 256\.0 KiB of memory/,
    );
    const none = await vfiokit(["show", `${at}@7`], { permissions: show.permissions });
    assert.equal(none.code, 1);
    assert.match(none.err, /000007\.vfk.*ENOENT/);
    const target = "sim:mlx5?size=64KiB&seed=9";
    const restored = await vfiokit(["restore", target, `${at}@1`, "--json"], {
      permissions: restore.permissions,
    });
    assert.equal(restored.code, 0, restored.err);
    const { checkpoint: number, links, memoryBytes } = JSON.parse(restored.out);
    assert.deepEqual([number, links], [1, 2]);
    assert.ok(memoryBytes >= 256 * 1024);
    const alone = await vfiokit(["restore", target, `${at}/000001.vfk`]);
    assert.equal(alone.code, 0, alone.err);
    assert.match(alone.err, /number 1 of a chain: .* only the device is restored/);
  });

  it("refuses a chain with a missing link with exit code 4, and names the last good one", async () => {
    using folder = new Folder();
    const at = folder.file("chain");
    const schedule = ["--every", "1ms", "--count", "3"];
    assert.equal((await vfiokit(["checkpoint", DEVICE, ...MAP, ...schedule, "-o", at])).code, 0);
    unlinkSync(`${at}/000001.vfk`);
    const last = /needs 1: it is missing; the last that can be restored is 0$/m;
    const verified = await vfiokit(["verify", at]);
    assert.equal(verified.code, 4);
    assert.match(verified.out, /3 checkpoints, 1 of them can be restored, the last is 0/);
    const restored = await vfiokit(["restore", "sim:mlx5?fault=open:EIO", at, "--json"]);
    assert.equal(restored.code, 4);
    assert.match(restored.err, last);
    assert.equal(JSON.parse(restored.out).error.code, "missing-link");
    assert.equal((await vfiokit(["verify", `${at}@2`])).code, 4);
    assert.equal((await vfiokit(["verify", `${at}@0`])).code, 0);
  });

  it("is compared by diff, which exits as diff(1) does", async () => {
    using folder = new Folder();
    const at = folder.file("chain");
    const schedule = ["--every", "100ms", "--count", "2"];
    assert.equal((await vfiokit(["checkpoint", DEVICE, ...MAP, ...schedule, "-o", at])).code, 0);
    const { permissions } = diff;
    const same = await vfiokit(["diff", `${at}@1`, at], { permissions });
    assert.equal(same.code, 0, same.err);
    assert.match(same.out, /^memory: the same\ndevice data: the same, /);
    const differs = await vfiokit(["diff", `${at}@0`, `${at}@1`, "--json"], { permissions });
    assert.equal(differs.code, 1, differs.err);
    const { same: equal, devices, error } = JSON.parse(differs.out);
    assert.deepEqual([equal, error.code], [false, "differs"]);
    assert.match(devices[0].memory[0].iova, /^0x1[0-9a-f]{2}000$/);
    assert.equal((await vfiokit(["diff", at, folder.file("none")], { permissions })).code, 2);
    writeFileSync(folder.file("bad"), "no checkpoint");
    assert.equal((await vfiokit(["diff", at, folder.file("bad")], { permissions })).code, 4);
    assert.equal((await vfiokit(["diff", at, `${at}@99`], { permissions })).code, 4);
    unlinkSync(`${at}/000000.vfk`);
    assert.equal((await vfiokit(["diff", at, at], { permissions })).code, 4);
  });

  it("ends on Ctrl-C with 130, and leaves a good chain", async () => {
    using folder = new Folder();
    const at = folder.file("chain");
    const words = ["checkpoint", DEVICE, ...MAP, "--every", "1ms", "-o", at];
    const { code, err } = await interrupted(words, /000002\.vfk: increment/, "SIGINT");
    assert.equal(code, 130, err);
    assert.ok(readdirSync(at).every((name) => /^\d{6}\.vfk$/.test(name)), `${readdirSync(at)}`);
    const { code: sound, out } = await vfiokit(["verify", at]);
    assert.equal(sound, 0, out);
  });

  it("lends device and memory to a program, here and after a restore", async () => {
    using folder = new Folder();
    const at = folder.file("chain");
    // Writes, and waits until a checkpoint was begun and has ended after that.
    const program = `
      printf vfio | dd of=/proc/self/fd/$VFIOKIT_MEMORY_FD conv=notrunc status=none
      before=$(ls ${at} | grep -c '^0.*vfk$')
      while [ $(ls ${at} | grep -c '^0.*vfk$') -lt $((before + 2)) ]; do sleep 0.05; done
      echo "$VFIOKIT_MAPPINGS"
      exit 7`;
    const device = "sim:mlx5?size=4KiB";
    const words = ["checkpoint", device, ...MAP, "--every", "20ms", "-o", at];
    const { code, out, err } = await vfiokit([...words, "--", "sh", "-c", program]);
    assert.equal(code, 7, err);
    assert.deepEqual(JSON.parse(out), [{ iova: "0x100000", size: 262_144, offset: 0 }]);
    assert.match(err, /000000\.vfk: full/);
    const look = "head -c 4 /proc/self/fd/$VFIOKIT_MEMORY_FD";
    const restored = await vfiokit(["restore", device, at, "--", "sh", "-c", look]);
    assert.equal(restored.code, 0, restored.err);
    assert.equal(restored.out, "vfio");
  });

  it("lets the device run on and leaves no file if the file cannot be written", async () => {
    using folder = new Folder();
    const at = folder.file("chain");
    const words = ["checkpoint", "sim:mlx5?size=4MiB", ...MAP, "-o", at];
    // A file that grows beyond the limit is EFBIG, since the signal is ignored.
    const limited = 'trap "" XFSZ; ulimit -f 1000; exec "$@"';
    const child = spawn("sh", ["-c", limited, "sh", ...command(), ...words]);
    let err = "";
    child.stderr.on("data", (chunk: Uint8Array) => err += new TextDecoder().decode(chunk));
    const code = await new Promise((resolve) => child.once("close", resolve));
    assert.equal(code, 1, err);
    assert.match(err, /EFBIG.*the device is running/);
    assert.deepEqual(readdirSync(at), []);
  });

  it("refuses a device that cannot migrate with exit code 3, and makes no folder", async () => {
    using folder = new Folder();
    const at = folder.file("chain");
    const { code, err } = await vfiokit(["checkpoint", "sim:none", ...MAP, "-o", at]);
    assert.equal(code, 3, err);
    assert.match(err, /^vfiokit checkpoint: The device has no migration region .*\n +hint: /);
    assert.equal(existsSync(at), false);
  });

  it("tries again after a checkpoint that failed, be it the first, and counts those that it took", async () => {
    const failed = [null, undefined];
    for (
      const [read, expected] of [
        [2, [failed, [0, "full"], [1, "increment"], [2, "increment"]]],
        [5, [[0, "full"], failed, [1, "full"], [2, "increment"]]],
      ] as const
    ) {
      using folder = new Folder();
      const at = folder.file("chain");
      const device = `sim:mlx5?size=1MiB&fault=read:${read}:EIO`;
      const schedule = ["--every", "10ms", "--count", "3"];
      const words = ["checkpoint", device, ...MAP, ...schedule, "-o", at, "--json"];
      const { code, out, err } = await vfiokit(words);
      assert.equal(code, 1, err);
      assert.match(err, /EIO.*running again; the next checkpoint is a full one/);
      const lines = out.trimEnd().split("\n").map((line) => JSON.parse(line));
      assert.deepEqual(lines.map(({ number, kind }) => [number, kind]), expected);
      assert.deepEqual(readdirSync(at).sort(), ["000000.vfk", "000001.vfk", "000002.vfk"]);
    }
  });

  it("ends with the first that fails if it is to take one", async () => {
    using folder = new Folder();
    const at = folder.file("chain");
    const device = "sim:mlx5?size=1MiB&fault=read:2:EIO";
    const once = await vfiokit(["checkpoint", device, ...MAP, "-o", at]);
    assert.equal(once.code, 1, once.err);
    assert.doesNotMatch(once.err, /next checkpoint/);
    assert.deepEqual(readdirSync(at), []);
  });

  it("is refused without devices, a folder, or an interval that makes sense", async () => {
    using folder = new Folder();
    const at = folder.file("chain");
    for (
      const [words, message] of [
        [["-o", at], /Expected a `?DEVICE/],
        [[DEVICE], /-o/],
        [[DEVICE, "-o", at, "--count", "3"], /--count without --every/],
        [[DEVICE, "-o", at, "--every", "0ms"], /name a longer time/],
        [[DEVICE, "-o", at, "--keep", "0", "--every", "1s"], /--keep/],
        [["replay:trace", "-o", at, "--", "true"], /a trace has no fd/],
      ] as const
    ) {
      const { code, err } = await vfiokit(["checkpoint", ...words]);
      assert.equal(code, 2, err);
      assert.match(err, message);
    }
    assert.equal(existsSync(at), false);
  });
});
