import assert from "node:assert/strict";
import { existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { decodeCheckpoint } from "../../src/checkpoint/mod.ts";
import { openDevice, precopy, stopAndCopy } from "../../mod.ts";
import { qemuStream, type StreamDevice } from "../vmm/_qemu_stream.ts";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The state of a simulated device, as QEMU would have it in its stream. */
async function deviceOf(simulated: string, name: string): Promise<StreamDevice> {
  await using device = await openDevice(simulated);
  const read = async (stream: ReadableStream<{ data: Bytes }>): Promise<Bytes[]> =>
    (await Array.fromAsync(stream, ({ data }) => data.slice())).filter(({ length }) => length > 0);
  const { vendorId, deviceId, subsystemVendorId, subsystemId } = device.description.identity!;
  return {
    name,
    precopy: await read(precopy(device, { threshold: 1024, maxRounds: 3 })),
    stopCopy: await read(stopAndCopy(device)),
    ids: {
      vendorId: vendorId!,
      deviceId: deviceId!,
      subsystemVendorId: subsystemVendorId ?? 0,
      subsystemId: subsystemId ?? 0,
    },
  };
}

async function statesOf(file: string): Promise<[device: number, phase: string, bytes: number[]][]> {
  const stream = ReadableStream.from([new Uint8Array(readFileSync(file))])
    .pipeThrough(decodeCheckpoint());
  return await Array.fromAsync(
    stream,
    ({ device, phase, data }): [number, string, number[]] => [device, phase, [...data]],
  );
}

describe("import qemu", () => {
  for (const simulated of ["sim:mlx5?size=64KiB", "sim:trapped?size=16KiB&chunk=4096"]) {
    it(`makes a checkpoint that restores into another device: ${simulated}`, async () => {
      using folder = new Folder();
      const device = await deviceOf(simulated, "0000:00:05.0/vfio");
      const [file, output] = [folder.file("guest"), folder.file("device")];
      writeFileSync(file, qemuStream({ devices: [device], machine: "pc-q35-7.2" }));
      const words = ["import", "qemu", file, "--like", simulated, "-o", output, "--json"];
      const { code, out, err } = await vfiokit(words);
      assert.equal(code, 0, err);
      assert.deepEqual(JSON.parse(out).imported, ["0000:00:05.0"]);
      assert.deepEqual(
        await statesOf(output),
        [
          ...device.precopy!.map((data) => [0, "pre-copy", [...data]]),
          ...device.stopCopy.map((data) => [0, "stop-and-copy", [...data]]),
        ],
      );
      const restored = await vfiokit(["restore", simulated, output]);
      assert.equal(restored.code, 0, restored.err);
    });
  }

  it("takes the devices that are named, in their order, or all", async () => {
    using folder = new Folder();
    const devices = ["0000:00:05.0", "0000:00:06.0", "0000:00:07.0"].map((name, index) => ({
      name: `${name}/vfio`,
      stopCopy: [new Uint8Array([index])],
    }));
    const [file, output] = [folder.file("guest"), folder.file("device")];
    writeFileSync(file, qemuStream({ devices }));
    const words = ["import", "qemu", file, "-o", output];
    assert.equal((await vfiokit(words)).code, 0);
    assert.deepEqual((await statesOf(output)).map(([device, , [byte]]) => [device, byte]), [
      [0, 0],
      [1, 1],
      [2, 2],
    ]);
    assert.equal((await vfiokit(words)).code, 1, "a file is not replaced unasked");
    const named = ["--device", "0000:00:07.0", "--device", "0000:00:05.0", "--force"];
    assert.equal((await vfiokit([...words, ...named])).code, 0);
    assert.deepEqual((await statesOf(output)).map(([device, , [byte]]) => [device, byte]), [
      [0, 2],
      [1, 0],
    ]);
    const absent = await vfiokit([...words, "--device", "0000:00:09.0", "--force"]);
    assert.equal(absent.code, 4);
    assert.match(absent.err, /no VFIO device "0000:00:09\.0": it has 0000:00:05\.0, 0000:00:06/);
  });

  it("lists what is in a file, and show does", async () => {
    using folder = new Folder();
    const device = { name: "0000:00:05.0/vfio", stopCopy: [new Uint8Array(5000)] };
    const file = folder.file("guest");
    writeFileSync(file, qemuStream({ devices: [device] }));
    const list = await vfiokit(["import", "qemu", file, "--list"]);
    const show = await vfiokit(["show", file]);
    assert.deepEqual([list.code, show.code], [0, 0]);
    assert.equal(list.out, show.out);
    assert.match(list.out, /pc-q35-10\.0\n {2}memory .* in 2 blocks, 3 pages and 2 of zeros\n/);
    assert.match(list.out, /\n {2}0000:00:05\.0 {2}0x564b:0x0008 +0 B +4\.9 KiB +1\n$/);
    const { stream } = JSON.parse((await vfiokit(["show", file, "--json"])).out);
    assert.deepEqual([stream.machine, stream.protocol, stream.devices[0].bytes], [
      "pc-q35-10.0",
      "v2",
      5000,
    ]);
  });

  it("exits with 4 and the offset if the file is cut, and leaves no checkpoint", async () => {
    using folder = new Folder();
    const device = { name: "0000:00:05.0/vfio", stopCopy: [new Uint8Array(5000)] };
    const [file, output] = [folder.file("guest"), folder.file("device")];
    writeFileSync(file, qemuStream({ devices: [device] }));
    truncateSync(file, 9000);
    const { code, err } = await vfiokit(["import", "qemu", file, "-o", output]);
    assert.equal(code, 4);
    assert.match(err, /it ends in section 2 \(ram\) \(at byte 9000\)/);
    assert.equal(existsSync(output), false);
  });

  it("exits with 3 if QEMU wrote it in a way that has no plain pages", async () => {
    using folder = new Folder();
    const file = folder.file("guest");
    writeFileSync(file, qemuStream({ capabilities: ["mapped-ram"] }));
    const { code, out, err } = await vfiokit(["import", "qemu", file, "--list", "--json"]);
    assert.deepEqual([code, JSON.parse(out).error.code], [3, "unsupported"]);
    assert.match(err, /hint: Migrate again without mapped-ram/);
  });

  it("exits with 4 if the device is of another kind than the one it is compared with", async () => {
    using folder = new Folder();
    const device = await deviceOf("sim:mlx5?size=4KiB", "0000:00:05.0/vfio");
    const file = folder.file("guest");
    writeFileSync(file, qemuStream({ devices: [device] }));
    const words = ["import", "qemu", file, "--like", "sim:qat", "-o", folder.file("device")];
    const { code, err } = await vfiokit(words);
    assert.equal(code, 4);
    assert.match(err, /0000:00:05\.0 is no such device: the vendor id is 0x15b3, and not 0x8086/);
  });

  it("exits with 2 if the protocol is not known, or the words make no sense", async () => {
    using folder = new Folder();
    const [file, output] = [folder.file("guest"), folder.file("device")];
    const device = { name: "0000:00:05.0/vfio", stopCopy: [new Uint8Array(50)] };
    writeFileSync(file, qemuStream({ devices: [device], machine: "pc-q35-7.2" }));
    for (
      const words of [
        ["-o", output],
        [],
        ["--list", "-o", output],
        ["--list", "--device", "0000:00:05.0"],
        ["-o", "-", "--json"],
      ]
    ) {
      const { code, err } = await vfiokit(["import", "qemu", file, ...words]);
      assert.equal(code, 2, `${words.join(" ")}: ${err}`);
    }
    const known = await vfiokit(["import", "qemu", file, "-o", output, "--protocol", "v1"]);
    assert.equal(known.code, 0, known.err);
  });
});
