import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { openCheckpointFile, openDevice, restore, stopAndCopy } from "../../mod.ts";
import { snapshotConfig, type SnapshotDevice, snapshotState } from "../vmm/_cloud_hypervisor.ts";
import { joined } from "../_joined.ts";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** All that a device gives once it stands. */
async function stateOf(device: Parameters<typeof stopAndCopy>[0]): Promise<Bytes> {
  return joined(...await Array.fromAsync(stopAndCopy(device), ({ data }) => data.slice()));
}

function sha256(bytes: Bytes): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The folder of a snapshot with these devices. */
function snapshotFolder(folder: Folder, devices: readonly SnapshotDevice[]): string {
  const snapshot = folder.file("snapshot");
  mkdirSync(snapshot);
  writeFileSync(`${snapshot}/state.json`, snapshotState(devices));
  const path = "/sys/bus/pci/devices/0000:3b:00.1/";
  writeFileSync(`${snapshot}/config.json`, snapshotConfig([{ id: "nic0", path }]));
  return snapshot;
}

describe("import cloud-hypervisor", () => {
  it("makes a checkpoint that restores into another device, with the same checksum", async () => {
    using folder = new Folder();
    const simulated = "sim:mlx5?size=64KiB&seed=3";
    await using source = await openDevice(simulated);
    const state = await stateOf(source);
    const snapshot = snapshotFolder(folder, [{ name: "nic0", state }, {
      name: "_vfio6",
      state: null,
    }]);
    const output = folder.file("device");
    const words = ["import", "cloud-hypervisor", snapshot, "--like", simulated, "-o", output];
    const { code, out, err } = await vfiokit([...words, "--json"]);
    assert.equal(code, 0, err);
    assert.deepEqual(JSON.parse(out).imported, ["nic0"]);
    assert.doesNotMatch(err, /nothing to compare/);

    await using other = await openDevice("sim:mlx5?size=64KiB&seed=4");
    await using checkpoint = await openCheckpointFile(output);
    await restore(other, checkpoint);
    assert.equal(sha256(await stateOf(other)), sha256(state));
  });

  it("reads no configuration that is not a file", async () => {
    using folder = new Folder();
    const snapshot = snapshotFolder(folder, [{ name: "nic0", state: null }]);
    rmSync(`${snapshot}/config.json`);
    symlinkSync("/dev/zero", `${snapshot}/config.json`);
    const { code, err } = await vfiokit(["show", snapshot]);
    assert.equal(code, 2, err);
    assert.match(err, /config\.json": it must be a regular file/);
  });

  it("lists what is in a snapshot, and show does", async () => {
    using folder = new Folder();
    const devices = [{ name: "nic0", state: new Uint8Array(5000) }, { name: "b", state: null }];
    const snapshot = snapshotFolder(folder, devices);
    const list = await vfiokit(["import", "cloud-hypervisor", snapshot, "--list"]);
    const show = await vfiokit(["show", snapshot, "--json"]);
    assert.deepEqual([list.code, show.code], [0, 0], list.err + show.err);
    assert.match(list.out, /\n {2}memory +4\.0 GiB in 2 ranges\n/);
    assert.match(
      list.out,
      /\n {2}nic0 +0000:00:05\.0 {2}\/sys\/bus\/pci\/devices\/0000:3b:00\.1\/ {2}4\.9 KiB\n {2}b +0000:00:06\.0 .* none\n/,
    );
    assert.match(show.err, /hint: import it: vfiokit import cloud-hypervisor /);
    const { snapshot: document } = JSON.parse(show.out);
    assert.deepEqual(
      document.devices.map(({ bytes }: { bytes: number | null }) => bytes),
      [5000, null],
    );
  });

  it("exits with 4 if a device has no state, or the file is cut or missing", async () => {
    using folder = new Folder();
    const devices = [{ name: "nic0", state: new Uint8Array(5000) }, { name: "b", state: null }];
    const snapshot = snapshotFolder(folder, devices);
    const output = folder.file("device");
    const words = ["import", "cloud-hypervisor", snapshot, "-o", output];
    const absent = await vfiokit([...words, "--device", "b"]);
    assert.equal(absent.code, 4);
    assert.match(absent.err, /no state of "b": its driver could not migrate, or cloud-hypervisor/);

    const file = `${snapshot}/state.json`;
    writeFileSync(file, readFileSync(file).subarray(0, 9000));
    const cut = await vfiokit(words);
    assert.equal(cut.code, 4);
    assert.match(cut.err, /it ends too early, in .*nic0.* \(at byte 9000\)/);
    assert.equal(existsSync(output), false);

    writeFileSync(file, '{"id":"vm","snapshots":{}}');
    assert.equal((await vfiokit(words)).code, 3);
  });
});
