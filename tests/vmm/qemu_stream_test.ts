import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import process from "node:process";
import { describe, it } from "node:test";
import { type QemuStream, readQemuStream } from "../../src/vmm/qemu/read_stream.ts";
import { importedIdentity } from "../../src/vmm/imported_identity.ts";
import { protocolOfMachine, stateOfDevices } from "../../src/vmm/qemu/import_state.ts";
import { VmmFileError } from "../../src/vmm/vmm_file_error.ts";
import { pieces, qemuStream, type StreamPlan, Writer } from "./_qemu_stream.ts";

type Bytes = Uint8Array<ArrayBuffer>;

function counted(length: number, from = 0): Bytes {
  return Uint8Array.from({ length }, (_, index) => from + index);
}

const DEVICE = {
  name: "0000:00:05.0/vfio",
  precopy: [counted(10), counted(300, 3)],
  stopCopy: [counted(20, 100), counted(0), counted(7, 9)],
};

const NO_IDS = { vendorId: 0, deviceId: 0, subsystemVendorId: 0, subsystemId: 0 };

function read(bytes: Bytes, length = 65_536): Promise<QemuStream> {
  return readQemuStream(pieces(bytes, length));
}

/** Bytes from the mark that ends the section with the pages of RAM on. */
function qemuStreamTail(bytes: Bytes): number {
  const page = new Uint8Array(64).fill(1);
  const text = new TextDecoder("latin1");
  const at = text.decode(bytes).lastIndexOf(text.decode(page)) + page.length;
  return bytes.length - at;
}

async function problem(bytes: Bytes): Promise<VmmFileError> {
  try {
    await read(bytes);
  } catch (error) {
    assert.ok(error instanceof VmmFileError, String(error));
    return error;
  }
  return assert.fail("it was read");
}

describe("a migration stream of QEMU's", () => {
  it("is read whatever pieces it comes in", async () => {
    const bytes = qemuStream({ devices: [DEVICE], pages: 5, zeroPages: 3 });
    const whole = await read(bytes);
    assert.deepEqual(whole.ram, { bytes: 9 * 4096, blocks: 2, pages: 5, zeroPages: 3 });
    assert.equal(whole.machine, "pc-q35-10.0");
    assert.equal(whole.bytes, bytes.length);
    assert.deepEqual(whole.others, ["clock"]);
    for (const length of [1, 2, 7, 8, 100, 4095, 4096, 4097]) {
      assert.deepEqual(await read(bytes, length), whole, `pieces of ${length}`);
    }
  });

  it("has its VFIO devices with their ids, and where their state is", async () => {
    const bytes = qemuStream({
      devices: [DEVICE, { name: "vfio", stopCopy: [counted(5)], ids: NO_IDS }],
    });
    const { devices } = await read(bytes);
    assert.deepEqual(devices.map(({ name, bytes, ids }) => [name, bytes, ids?.deviceId]), [
      ["0000:00:05.0", 337, 8],
      ["", 5, undefined],
    ]);
    const [first] = devices;
    assert.deepEqual(first!.ids, {
      vendorId: 0x564b,
      deviceId: 8,
      subsystemVendorId: 0x1af4,
      subsystemId: 0x1100,
    });
    // A record without data is none: QEMU's destination takes no notice of it.
    assert.deepEqual(
      first!.records.map(({ offset, length, precopy }) => [
        [...bytes.slice(offset, offset + length)],
        precopy,
      ]),
      [...DEVICE.precopy.map((data) => [[...data], true]), [[...DEVICE.stopCopy[0]!], false], [
        [...DEVICE.stopCopy[2]!],
        false,
      ]],
    );
  });

  it("reports how much of it was read, at last what is returned", async () => {
    const bytes = qemuStream({ devices: [DEVICE] });
    const seen: number[] = [];
    const { bytes: size } = await readQemuStream(pieces(bytes, 100), {
      onProgress: (progress) => seen.push(progress.bytes),
    });
    assert.equal(seen.at(-1), size);
    assert.deepEqual(seen, [...seen].sort((a, b) => a - b));
    assert.ok(seen.length > 2);
    const enough = new Error("enough");
    const throwing = {
      onProgress: (): void => {
        throw enough;
      },
    };
    await assert.rejects(readQemuStream(pieces(bytes, 100), throwing), enough);
  });

  it("may have larger pages, no configuration, and no RAM to speak of", async () => {
    const large = await read(qemuStream({ pageSize: 65_536, pages: 2, machine: "virt-9.2" }));
    assert.deepEqual([large.ram.pages, large.machine], [2, "virt-9.2"]);
    const bare = await read(qemuStream({ machine: null, pages: 0, zeroPages: 0 }));
    assert.deepEqual([bare.machine, bare.ram.pages], [null, 0]);
  });

  it("may have commands to the destination", async () => {
    for (const command of [1, 2, 11]) {
      assert.equal((await read(qemuStream({ command }))).ram.pages, 3);
    }
  });

  const REFUSED: Readonly<Record<string, StreamPlan>> = {
    "mapped-ram": { capabilities: ["mapped-ram"] },
    "x-ignore-shared": { capabilities: ["x-ignore-shared"] },
    multifd: { pageFlags: 0x200 },
    xbzrle: { pageFlags: 0x40 },
    compression: { pageFlags: 0x100 },
    RDMA: { pageFlags: 0x80 },
    postcopy: { command: 3 },
    COLO: { command: 8 },
    'a section "dirty-bitmap" in parts': { parts: ["dirty-bitmap"] },
  };
  for (const [what, plan] of Object.entries(REFUSED)) {
    it(`is refused by name if it was written with ${what}`, async () => {
      const error = await problem(qemuStream(plan));
      assert.deepEqual(
        [error.code, error.message.includes(`written with ${what}, which`)],
        ["unsupported", true],
        error.message,
      );
    });
  }

  it("is refused if a device's state went through other channels, or has no length", async () => {
    assert.match(
      (await problem(qemuStream({ devices: [DEVICE], deviceTag: 6 }))).message,
      /written with multifd/,
    );
    const early = await problem(qemuStream({ devices: [DEVICE], deviceTag: 2 }));
    assert.deepEqual([early.code, /QEMU before 6\.0/.test(early.message)], ["unsupported", true]);
    assert.equal((await problem(qemuStream({ devices: [DEVICE], deviceTag: 9 }))).code, "damaged");
  });

  it("is truncated if it is cut anywhere, with the offset where it ends", async () => {
    const bytes = qemuStream({ devices: [DEVICE], pages: 2, zeroPages: 1 });
    for (let length = 0; length < bytes.length; length++) {
      const { code, offset } = await problem(bytes.slice(0, length));
      assert.deepEqual([code, offset], ["truncated", length], `cut at ${length}`);
    }
    assert.equal((await problem(qemuStream({ undescribed: true }))).code, "truncated");
  });

  it("is bad if anything follows it", async () => {
    const bytes = new Writer().add(qemuStream()).byte(0).bytes();
    assert.equal((await problem(bytes)).code, "truncated");
  });

  it("never reads as something else if a bit of its frame is flipped", async () => {
    const bytes = qemuStream({ devices: [DEVICE], pages: 1, zeroPages: 1 });
    const good = await read(bytes);
    const inData = ({ records }: QemuStream["devices"][number], at: number): boolean =>
      records.some(({ offset, length }) => at >= offset && at < offset + length);
    for (let at = 0; at < bytes.length; at += 3) {
      if (inData(good.devices[0]!, at)) continue;
      const bad = bytes.slice();
      bad[at]! ^= 0x10;
      try {
        const { devices } = await read(bad);
        // A bit of a page, of a name or of another device changes nothing of where the state is.
        const places = ({ records }: QemuStream["devices"][number]): unknown => records;
        assert.deepEqual(devices.map(places), good.devices.map(places), `byte ${at}`);
      } catch (error) {
        assert.ok(error instanceof VmmFileError, `byte ${at}: ${error}`);
      }
    }
  });

  it("takes no more memory however much RAM is in it", async () => {
    // The one page of RAM is repeated: 512 MiB of it, in one buffer.
    const bytes = qemuStream({ devices: [DEVICE], pages: 1, zeroPages: 0 });
    const header = new Writer().be64(0x28).bytes();
    const after = bytes.length - qemuStreamTail(bytes);
    const again = new Uint8Array(64 * (8 + 4096));
    for (let page = 0; page < 64; page++) again.set(header, page * (8 + 4096));
    const repeats = 2048;
    async function* chunks(): AsyncGenerator<Bytes> {
      yield bytes.slice(0, after);
      for (let repeat = 0; repeat < repeats; repeat++) yield again;
      yield bytes.slice(after);
    }
    const before = process.memoryUsage().rss;
    const { ram, devices } = await readQemuStream(chunks());
    const grown = process.memoryUsage().rss - before;
    assert.deepEqual([ram.pages, devices[0]!.bytes], [1 + 64 * repeats, 337]);
    assert.ok(grown < 128 << 20, `${grown} bytes more for ${64 * repeats * 4096} bytes of RAM`);
  });

  it("is none if it begins otherwise, and has no other version", async () => {
    assert.equal((await problem(new TextEncoder().encode("VFIOKIT.")))!.code, "not-a-vmm-file");
    assert.equal((await problem(new Writer().text("QEVM").be32(2).bytes())).code, "unsupported");
  });

  it("is given up at the signal", async () => {
    const stop = new AbortController();
    stop.abort(new Error("enough"));
    const reading = readQemuStream(pieces(qemuStream(), 100), { signal: stop.signal });
    await assert.rejects(reading, /enough/);
  });
});

describe("the state in a stream's file", () => {
  it("is what QEMU read of the device, piece by piece, by its phases", async () => {
    const folder = fs.mkdtempSync(`${tmpdir()}/vfiokit-`);
    try {
      const large = counted(3 << 20);
      const devices = [DEVICE, { name: "0000:00:06.0/vfio", stopCopy: [large] }];
      const bytes = qemuStream({ devices });
      fs.writeFileSync(`${folder}/a`, bytes);
      const stream = await read(bytes);
      const fd = fs.openSync(`${folder}/a`, "r");
      const all = await Array.fromAsync(stateOfDevices(fd, stream.devices));
      assert.deepEqual(
        all.slice(0, 4).map(({ device, phase, data, more }) => [device, phase, [...data], more]),
        [
          [0, "pre-copy", [...DEVICE.precopy[0]!], false],
          [0, "pre-copy", [...DEVICE.precopy[1]!], false],
          [0, "stop-and-copy", [...DEVICE.stopCopy[0]!], false],
          [0, "stop-and-copy", [...DEVICE.stopCopy[2]!], false],
        ],
      );
      // A piece that is larger than a batch stays one transaction.
      assert.deepEqual(all.slice(4).map(({ device, more }) => [device, more]), [
        [1, true],
        [1, true],
        [1, false],
      ]);
      fs.truncateSync(`${folder}/a`, 1000);
      await assert.rejects(Array.fromAsync(stateOfDevices(fd, stream.devices)), VmmFileError);
      fs.closeSync(fd);
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });

  it("is of the protocol that the machine's version leaves", () => {
    for (
      const [machine, protocol] of [
        ["pc-q35-8.0", "v2"],
        ["virt-11.1", "v2"],
        ["pc-i440fx-7.2", null],
        ["microvm", null],
        [null, null],
      ] as const
    ) assert.equal(protocolOfMachine(machine), protocol, String(machine));
  });

  it("has the identity of the device that it is compared with, if that is of its kind", () => {
    const ids = { vendorId: 1, deviceId: 2, subsystemVendorId: 3, subsystemId: 4 };
    const own = importedIdentity({ name: "a", ids }, { protocol: "v1", like: null });
    assert.deepEqual([own.vendorId, own.driver, own.region], [1, null, { type: 3, subtype: 1 }]);
    const like = { ...own, protocol: "v2", region: null, driver: "mlx5_vfio_pci" } as const;
    assert.equal(importedIdentity({ name: "a", ids }, { protocol: "v2", like }), like);
    assert.equal(importedIdentity({ name: "a", ids: null }, { protocol: "v2", like }), like);
    const other = { ...like, deviceId: 9 };
    assert.throws(
      () => importedIdentity({ name: "a", ids }, { protocol: "v1", like: other }),
      /the device id is 0x0002, and not 0x0009, the protocol is v1/,
    );
  });
});
