import fc from "fast-check";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, describe, it } from "node:test";
import type { EncodeOptions } from "../../../src/checkpoint/format/checkpoint_encoder.ts";
import { CheckpointError } from "../../../src/checkpoint/checkpoint_error.ts";
import type { Transaction } from "../../../src/checkpoint/batches/transaction.ts";
import { fdKind } from "../../../src/checkpoint/pipeline/fd_kind.ts";
import { startReading } from "../../../src/checkpoint/pipeline/io_thread.ts";
import { cancelRings } from "../../../src/checkpoint/pipeline/rings.ts";
import { type Bytes, encode, header } from "../_tools.ts";
import { restoringRings, takeAll } from "./_io.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-read-"));
after(() => fs.rmSync(folder, { recursive: true }));

let number = 0;

/** A file with these bytes, open. */
function fileOf(bytes: Uint8Array): number {
  const at = `${folder}/${number++}`;
  fs.writeFileSync(at, bytes);
  return fs.openSync(at, "r");
}

/** Transactions of so many bytes, one behind the other in one buffer, so that they share frames. */
function transactions(device: number, ...sizes: number[]): Transaction[] {
  const bytes: Bytes = new Uint8Array(new ArrayBuffer(sizes.reduce((sum, size) => sum + size, 0)));
  for (let at = 0; at < bytes.length; at++) bytes[at] = Math.imul(at + device, 2654435761) >>> 24;
  let at = 0;
  return sizes.map((size) => {
    const data = bytes.subarray(at, at += size);
    return { device, phase: "stop-and-copy", data, more: false };
  });
}

/** Restores devices, one after the other: each has fewer frames than its ring has slots. */
async function restored(
  bytes: Uint8Array,
  devices: number,
  slots: number,
): Promise<Uint8Array[][]> {
  const fd = fileOf(bytes);
  const rings = restoringRings(devices, slots);
  const io = startReading({ fd, kind: fdKind(fd), rings });
  assert.equal((await io.begun)!.devices.length, devices);
  const all = rings.map((memory) => takeAll(memory));
  assert.ok((await io.ended)!.complete);
  fs.closeSync(fd);
  assert.ok(all.every(({ ended }) => ended === "ended"));
  return all.map(({ transactions }) => transactions);
}

function same(actual: readonly Uint8Array[], expected: readonly Transaction[]): void {
  assert.deepEqual(actual.map(({ length }) => length), expected.map(({ data }) => data.length));
  for (const [index, { data }] of expected.entries()) {
    assert.equal(Buffer.compare(actual[index]!, data), 0, `transaction ${index}`);
  }
}

describe("a checkpoint read into rings", () => {
  it("gives each device its own transactions", async () => {
    const devices = [
      transactions(0, 1, 4096, 70_000),
      transactions(1, 1 << 20),
      transactions(2, 5),
    ];
    const bytes = encode(devices.flat(), {}, header(3));
    const all = await restored(bytes, 3, 2);
    devices.forEach((expected, device) => same(all[device]!, expected));
  });

  it("gives frames that do not fit in a slot in parts, compressed or not", async () => {
    const large = transactions(0, 3 << 20, 100, (1 << 20) + 1, 16 << 20, 0, 7);
    const many = transactions(0, ...Array<number>(16_000).fill(3));
    const options: EncodeOptions[] = [{}, { compress: "zstd" }, { digest: "sha256" }];
    for (const option of options) {
      for (const expected of [large, many]) {
        same((await restored(encode(expected, option), 1, 1))[0]!, expected);
      }
    }
  });

  it("gives any transactions, as long as the reader takes them", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.nat({ max: 9000 }), fc.nat({ max: 3 << 20 })), {
          minLength: 1,
          maxLength: 30,
        }),
        fc.constantFrom(1, 2, 4),
        async (sizes, slots) => {
          const expected = transactions(0, ...sizes);
          // A frame without any bytes is no frame.
          if (expected.every(({ data }) => data.length === 0)) return;
          same((await restored(encode(expected), 1, slots))[0]!, expected);
        },
      ),
      { numRuns: 15 },
    );
  });

  it("ends without a device's end if it is bad, and says what is wrong", async () => {
    const good = encode(transactions(0, 5000, 3000));
    const bad: [string, Uint8Array][] = [
      ["crc", good.map((byte, at) => at === 3000 ? byte ^ 1 : byte)],
      ["truncated", good.subarray(0, good.length - 1)],
      ["trailing", Buffer.concat([good, new Uint8Array(1)])],
    ];
    for (const [code, bytes] of bad) {
      const fd = fileOf(bytes);
      const rings = restoringRings(1, 4);
      const io = startReading({ fd, kind: fdKind(fd), rings });
      await assert.rejects(
        io.ended,
        (error) => error instanceof CheckpointError && error.code === code,
        code,
      );
      assert.equal(takeAll(rings[0]!).ended, "cancelled", code);
      fs.closeSync(fd);
    }
  });

  it("rejects before it has begun if its header is bad", async () => {
    const fd = fileOf(new Uint8Array(100));
    const io = startReading({ fd, kind: fdKind(fd), rings: restoringRings(1, 1) });
    await assert.rejects(io.begun, { name: "CheckpointError", code: "not-a-checkpoint" });
    fs.closeSync(fd);
  });

  it("stops behind the header if it is for another number of devices", async () => {
    const fd = fileOf(encode(transactions(0, 1), {}, header(2)));
    const io = startReading({ fd, kind: fdKind(fd), rings: restoringRings(1, 1) });
    assert.equal((await io.begun)!.devices.length, 2);
    assert.equal(await io.ended, null);
    fs.closeSync(fd);
  });

  it("waits for a device that takes nothing, and ends when that is not wanted any more", async () => {
    const fd = fileOf(encode(transactions(0, 1 << 20, 1 << 20, 1 << 20)));
    const rings = restoringRings(1, 1);
    const io = startReading({ fd, kind: fdKind(fd), rings });
    assert.equal((await io.begun)!.devices.length, 1);
    cancelRings(rings);
    assert.equal(await io.ended, null);
    fs.closeSync(fd);
  });

  it("waits for a fifo that gives nothing, and ends when that is not wanted any more", async () => {
    const at = `${folder}/fifo`;
    execFileSync("mkfifo", [at]);
    const fd = fs.openSync(at, "r+");
    const bytes = encode(transactions(0, 100));
    fs.writeSync(fd, bytes.subarray(0, bytes.length - 10));
    const rings = restoringRings(1, 1);
    const io = startReading({ fd, kind: fdKind(fd), rings });
    assert.equal((await io.begun)!.devices.length, 1);
    cancelRings(rings);
    assert.equal(await io.ended, null);
    fs.closeSync(fd);
  });
});
