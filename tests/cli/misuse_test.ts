import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { snapshotState } from "../vmm/_cloud_hypervisor.ts";
import { qemuStream } from "../vmm/_qemu_stream.ts";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { atTerminal } from "./_terminal.ts";

/** A checkpoint of these devices in a folder. */
async function saved(folder: Folder, ...devices: readonly string[]): Promise<string> {
  const file = folder.file("a.vfk");
  const { code, err } = await vfiokit(["save", ...devices, "-o", file, "-q"]);
  assert.equal(code, 0, err);
  return file;
}

describe("the words for", () => {
  it("a checkpoint that does not come last: the right command line", async () => {
    using folder = new Folder();
    const file = folder.file("a.vfk");
    writeFileSync(file, "");
    const { code, err } = await vfiokit(["restore", file, "sim:trapped?size=1MiB"]);
    assert.equal(code, 2);
    assert.match(err, /"sim:trapped\?size=1MiB": it is a device, and the checkpoint comes last: /);
    assert.ok(err.includes(`vfiokit restore 'sim:trapped?size=1MiB' ${file}\n`), err);
  });

  it("a device that is not there: not that it cannot be migrated", async () => {
    const { code, out } = await vfiokit(["probe", "fe:1f.7"]);
    assert.equal(code, 3);
    assert.match(out, /^0000:fe:1f\.7: there is no such device\n/);
    assert.doesNotMatch(out, /migrated/);
  });

  const packers: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>> = {
    gzip: (bytes) => gzipSync(bytes),
    zstd: (bytes) => zstdCompressSync(bytes),
  };
  for (const [name, pack] of Object.entries(packers)) {
    it(`a checkpoint in a ${name} file: what unpacks it`, async () => {
      using folder = new Folder();
      const file = folder.file("packed");
      writeFileSync(file, pack(new Uint8Array(100)));
      const { code, err } = await vfiokit(["verify", file]);
      assert.equal(code, 4);
      assert.match(err, new RegExp(`first bytes are those of a ${name} file`));
      assert.match(err, new RegExp(`hint: Unpack it first: ${name} -dc FILE`));
    });
  }

  it("a file of QEMU's, or a snapshot's folder: that it is imported first", async () => {
    using folder = new Folder();
    const file = folder.file("guest");
    writeFileSync(file, qemuStream());
    const stream = await vfiokit(["verify", file]);
    assert.equal(stream.code, 4);
    assert.match(stream.err, /hint: Make a checkpoint of it first: vfiokit import qemu FILE/);
    writeFileSync(folder.file("state.json"), snapshotState([]));
    const snapshot = await vfiokit(["verify", folder.file("")]);
    assert.equal(snapshot.code, 4);
    assert.match(snapshot.err, /hint: It is a snapshot .*: vfiokit import cloud-hypervisor /);
    writeFileSync(folder.file("000000.vfk"), "");
    const checkpoints = await vfiokit(["show", folder.file("")]);
    assert.equal(checkpoints.code, 4);
    assert.match(checkpoints.out, /1 checkpoint, 0 of them can be restored/);
    writeFileSync(file, gzipSync(qemuStream()));
    const packed = await vfiokit(["import", "qemu", file, "--list"]);
    assert.equal(packed.code, 4);
    assert.match(packed.err, /but a gzip file .*\n +hint: Unpack it first: gzip -dc FILE/);
  });

  it("devices in another order than saved: the right one", async () => {
    using folder = new Folder();
    const [one, two] = ["sim:trapped?size=64KiB", "sim:mlx5?size=64KiB"];
    const file = await saved(folder, one!, two!);
    const { code, err } = await vfiokit(["restore", two!, one!, file]);
    assert.equal(code, 4);
    assert.ok(err.includes(`in another order: they were saved as ${one}, ${two};`), err);
    assert.ok(err.length < 500, err);
  });

  it("a device that is gone: no reset of it", async () => {
    for (const device of ["sim:trapped?fault=gone:2", "sim:mlx5?fault=gone:2"]) {
      const { code, err } = await vfiokit(["save", device, "-o", "/dev/null"]);
      assert.equal(code, 5);
      assert.match(err, /hint: the device is gone; once it is back/);
      assert.doesNotMatch(err, /vfiokit reset/);
    }
  });

  it("a mistyped command of a group: the one that it resembles", async () => {
    const { code, err } = await vfiokit(["dirty", "wach"]);
    assert.equal(code, 2);
    assert.match(err, /Did you mean `watch`\?\nTry "vfiokit dirty --help"/);
  });

  it("a wrong file for the forecast: what prints the right one", async () => {
    using folder = new Folder();
    const file = folder.file("notes");
    writeFileSync(file, "# not samples\n");
    const { code, err } = await vfiokit(["dirty", "forecast", file, "--bandwidth", "1Gbit"]);
    assert.equal(code, 1);
    assert.match(err, /notes: it is not the output of dirty watch --json\n {2}hint: .*dirty watch/);
  });

  it("a checkpoint that would come from a terminal: a file or a pipe", async () => {
    const { code, screen } = await atTerminal(["restore", "sim:mlx5", "-"], 100);
    assert.equal(code, 2, screen);
    assert.match(screen, /Cannot read the checkpoint from a terminal: name a file, or use a pipe/);
  });
});

describe("sizes", () => {
  it("may have the units of dd and QEMU", async () => {
    using folder = new Folder();
    const sizes = ["1M", "10G", "1.5k"];
    const files = sizes.map((size) => folder.file(size));
    const runs = await Promise.all(sizes.map((size, index) =>
      vfiokit([
        ...["save", "sim:mapped?size=64KiB", "-o", files[index]!],
        ...["--threshold", size, "-q"],
      ])
    ));
    assert.deepEqual(runs.map(({ code }) => code), [0, 0, 0]);
  });
});

describe("show of a damaged checkpoint", () => {
  it("prints what can be read of one that is cut, and that it is cut", async () => {
    using folder = new Folder();
    const file = await saved(folder, "sim:trapped?size=4MiB");
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.subarray(0, bytes.length - 10));
    const { code, out, err } = await vfiokit(["show", file]);
    assert.equal(code, 4);
    assert.match(out, / {2}damaged {4}it is cut: it ends after 4\.0 MiB/);
    assert.match(out, /Device 0: mdev, 0x564b:0x0001/);
    assert.match(out, /stop-and-copy +\d+ +4\.0 MiB/);
    assert.match(err, /it ends before/);
    const json = JSON.parse((await vfiokit(["show", file, "--json"])).out);
    assert.ok(json.bytes >= 4 << 20);
    assert.equal(json.devices.length, 1);
    assert.equal(json.error.code, "truncated");
  });

  it("prints the error alone if there is no header", async () => {
    using folder = new Folder();
    const file = await saved(folder, "sim:trapped?size=64KiB");
    writeFileSync(file, readFileSync(file).subarray(0, 20));
    const { code, out } = await vfiokit(["show", file]);
    assert.deepEqual([code, out], [4, ""]);
  });
});
