import assert from "node:assert/strict";
import process from "node:process";
import { it } from "node:test";
import { zstdCompressSync } from "node:zlib";
import {
  FRAME_DATA,
  FRAME_HEADER_SIZE,
  FRAME_OPTIONAL,
  FRAME_ZSTD,
  MAX_BODY,
  MAX_META,
  PREAMBLE_SIZE,
} from "../../src/checkpoint/frames/constants.ts";
import {
  type Bytes,
  bytesOf,
  type Craft,
  craft,
  dataFrame,
  encode,
  fault,
  headFrame,
  read,
  tailFrame,
  tailOf,
  transaction,
} from "./_tools.ts";

// Everything here has right CRCs, numbers and chains: what somebody would write
// who means harm, or a later version of this program.

function closed(...frames: Craft[]): Bytes {
  return craft(headFrame(), ...frames, tailOf(frames));
}

/** Memory that some work takes at its end, in MiB. */
function grown(work: () => void): number {
  const before = process.memoryUsage().rss;
  work();
  return (process.memoryUsage().rss - before) / 2 ** 20;
}

it("what is crafted rightly is read", () => {
  assert.equal(fault(closed(dataFrame([2, 1], bytesOf("abc")))), null);
});

it("an optional frame of an unknown type is checked and left out", () => {
  const NEW = 0x57454e2e;
  const frames = [
    { type: NEW, flags: FRAME_OPTIONAL, device: 7, meta: "meta", body: bytesOf("what ever") },
    dataFrame([3], bytesOf("abc")),
    { type: NEW, flags: FRAME_OPTIONAL | 0xfff0, meta: "", body: bytesOf() },
  ];
  const bytes = closed(...frames);
  const { trailer, error } = read(bytes, [5]);
  assert.equal(error, null);
  assert.equal(trailer?.frames, 4);
  const damaged = bytes.slice();
  damaged[bytes.length - craft(tailOf(frames)).length + PREAMBLE_SIZE - 40]! ^= 1;
  assert.equal(fault(damaged), "crc");
});

it("a frame that has to be known and is not needs a newer version", () => {
  const unknown = read(craft(headFrame(), { type: 0x57454e2e, meta: "" }));
  assert.equal(unknown.error?.code, "unknown-frame");
  assert.match(unknown.error!.message, /type "\.NEW" .*needs a newer version/);
  assert.equal(
    fault(craft(headFrame(), { ...dataFrame([1], bytesOf(1)), flags: 4 })),
    "unknown-frame",
  );
  assert.equal(
    fault(craft(headFrame(), { ...dataFrame([1], bytesOf(1)), flags: FRAME_OPTIONAL })),
    "unknown-frame",
  );
  assert.match(
    read(craft(headFrame(), { type: 0x01020304, meta: "" })).error!.message,
    /0x01020304/,
  );
});

it("the header comes first, and once; the trailer last", () => {
  assert.equal(fault(craft(dataFrame([1], bytesOf(1)))), "order");
  assert.equal(fault(craft(headFrame(), headFrame())), "order");
  assert.equal(fault(craft({ type: 1, flags: FRAME_OPTIONAL, meta: "" }, headFrame())), "order");
  assert.equal(fault(craft(tailFrame({}))), "order");
  assert.equal(fault(craft(headFrame(), tailOf([]), dataFrame([1], bytesOf(1)))), "trailing");
  assert.equal(fault(craft({ ...headFrame(), body: bytesOf(1) })), "frame");
  assert.equal(fault(craft({ ...headFrame(), device: 1 })), "frame");
  assert.equal(fault(craft(headFrame(), { ...tailOf([]), device: 1 })), "frame");
  assert.equal(fault(craft(headFrame(), { ...tailOf([]), body: bytesOf(1) })), "frame");
});

it("absurd lengths are refused before anything is allocated", async () => {
  const { crc32 } = await import("node:zlib");
  const good = closed(dataFrame([1], bytesOf(1)));
  const first = PREAMBLE_SIZE + craft(headFrame()).length - PREAMBLE_SIZE;
  for (const field of [12, 16]) {
    for (const length of [0xffffffff, 0x80000000, field === 12 ? MAX_META + 1 : MAX_BODY + 1]) {
      const bytes = good.slice();
      const view = new DataView(bytes.buffer);
      view.setUint32(first + field, length, true);
      view.setUint32(first + 28, crc32(bytes.subarray(first, first + 28)), true);
      const { error } = read(bytes);
      assert.deepEqual([error?.code, error?.offset], ["length", first]);
    }
  }
});

it("a DATA frame whose table makes no sense is refused", () => {
  const bad: Craft[] = [
    dataFrame([1], bytesOf(2)),
    dataFrame([3], bytesOf(2)),
    dataFrame([0xffffffff, 3], bytesOf(2)),
    dataFrame([], bytesOf()),
    dataFrame([1], bytesOf(1), { count: 2 }),
    dataFrame([1, 1], bytesOf(2), { count: 1 }),
    dataFrame([1], bytesOf(1), { count: 0xffffffff }),
    dataFrame([1], bytesOf(1), { phase: 0 }),
    dataFrame([1], bytesOf(1), { phase: 3 }),
    dataFrame([1], bytesOf(1), { flags: 2 }),
    dataFrame([1], bytesOf(1), { reserved: 1 }),
    dataFrame([1], bytesOf(1), { micros: 1n << 63n }),
    dataFrame([1], bytesOf(1), { device: 1 }),
    { type: FRAME_DATA, meta: "", body: bytesOf(1) },
    { type: FRAME_DATA, meta: new Uint8Array(15), body: bytesOf(1) },
  ];
  for (const [index, frame] of bad.entries()) {
    const code = fault(craft(headFrame(), frame));
    assert.ok(code === "frame" || code === "length", `frame ${index}: ${code}`);
  }
  const open = dataFrame([1], bytesOf(1), { flags: 1, phase: 1 });
  assert.equal(fault(craft(headFrame(), open, dataFrame([1], bytesOf(1)))), "frame");
});

it("a frame that decompresses to something else than it declares is refused", () => {
  const zip = (bytes: Bytes): Bytes => bytesOf(zstdCompressSync(bytes));
  const small = zip(bytesOf(1000));
  const frame = (size: number, body: Bytes): Craft =>
    dataFrame([size], body, { frameFlags: FRAME_ZSTD });
  assert.equal(fault(closed(frame(1000, small))), null);
  const bad: Craft[] = [
    frame(999, small),
    frame(1001, small),
    frame(0, small),
    frame(1000, bytesOf()),
    frame(1000, bytesOf("no zstd at all")),
    frame(1000, small.slice(0, -1)),
    frame(1000, bytesOf(small, "x")),
    frame(1000, bytesOf(small, small)),
  ];
  for (const [index, item] of bad.entries()) {
    assert.equal(fault(craft(headFrame(), item)), "compression", `frame ${index}`);
    assert.equal(fault(craft(headFrame(), item), { discard: true }), "compression");
  }
  assert.equal(fault(craft(headFrame(), frame(MAX_BODY + 1, small))), "length");
  assert.equal(fault(craft(headFrame(), frame(0xffffffff, small))), "length");
});

it("what decompresses to a GiB takes no GiB", () => {
  const bomb = bytesOf(zstdCompressSync(new Uint8Array(2 ** 30)));
  const frame = dataFrame([1000], bomb, { frameFlags: FRAME_ZSTD });
  const bytes = craft(headFrame(), frame);
  assert.ok(bytes.length < 100_000);
  assert.ok(grown(() => assert.equal(fault(bytes), "compression")) < 200);
});

it("an error says where it occurred", () => {
  const good = encode([transaction("abc"), transaction("def")]);
  const damaged = good.slice();
  const third = damaged.length - craft(tailFrame({})).length;
  damaged[third]! ^= 1;
  const { error } = read(damaged);
  assert.equal(error?.code, "crc");
  assert.ok(error!.offset >= PREAMBLE_SIZE + FRAME_HEADER_SIZE && error!.offset <= third);
  assert.match(error!.message, new RegExp(`at byte ${error!.offset}`));
});
