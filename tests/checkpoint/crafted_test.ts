import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import {
  FRAME_DATA,
  FRAME_HEAD,
  FRAME_HEADER_SIZE,
  FRAME_OPTIONAL,
  FRAME_TAIL,
  FRAME_ZSTD,
  MAX_BODY,
  MAX_META,
  PREAMBLE_SIZE,
} from "../../src/checkpoint/format.ts";
import {
  type Bytes,
  bytesOf,
  type Craft,
  craft,
  dataFrame,
  encode,
  fault,
  header,
  headFrame,
  read,
  tailFrame,
  transaction,
} from "./_tools.ts";

// Everything here has right CRCs, numbers and chains: what somebody would write
// who means harm, or a later version of this program.

/** The trailer's fields for one head and these DATA frames. */
function tail(frames: Craft[], changes: Readonly<Record<string, unknown>> = {}): Craft {
  const before = craft(headFrame(), ...frames);
  const { batches } = read(before);
  const transactions = batches.reduce((sum, { sizes, more }) => sum + sizes.length - +more, 0);
  const bytes = batches.reduce((sum, batch) => sum + batch.bytes.length, 0);
  return tailFrame({
    complete: true,
    frames: 1 + frames.length,
    storedBytes: before.length,
    transactions,
    bytes,
    sha256: null,
    devices: [{ transactions, bytes }],
    ...changes,
  });
}

function closed(...frames: Craft[]): Bytes {
  return craft(headFrame(), ...frames, tail(frames));
}

/** Memory that some work takes at its end, in MiB. */
function grown(work: () => void): number {
  const before = process.memoryUsage().rss;
  work();
  return (process.memoryUsage().rss - before) / 2 ** 20;
}

test("what is crafted rightly is read", () => {
  assert.equal(fault(closed(dataFrame([2, 1], bytesOf("abc")))), null);
});

test("an optional frame of an unknown type is checked and left out", () => {
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
  damaged[bytes.length - craft(tail(frames)).length + PREAMBLE_SIZE - 40]! ^= 1;
  assert.equal(fault(damaged), "crc");
});

test("a frame that has to be known and is not needs a newer version", () => {
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

test("the header comes first, and once; the trailer last", () => {
  assert.equal(fault(craft(dataFrame([1], bytesOf(1)))), "order");
  assert.equal(fault(craft(headFrame(), headFrame())), "order");
  assert.equal(fault(craft({ type: 1, flags: FRAME_OPTIONAL, meta: "" }, headFrame())), "order");
  assert.equal(fault(craft(tailFrame({}))), "order");
  assert.equal(fault(craft(headFrame(), tail([]), dataFrame([1], bytesOf(1)))), "trailing");
  assert.equal(fault(craft({ ...headFrame(), body: bytesOf(1) })), "frame");
  assert.equal(fault(craft({ ...headFrame(), device: 1 })), "frame");
  assert.equal(fault(craft(headFrame(), { ...tail([]), device: 1 })), "frame");
  assert.equal(fault(craft(headFrame(), { ...tail([]), body: bytesOf(1) })), "frame");
});

test("absurd lengths are refused before anything is allocated", async () => {
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

test("a DATA frame whose table makes no sense is refused", () => {
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

test("a frame that decompresses to something else than it declares is refused", () => {
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

test("what decompresses to a GiB takes no GiB", () => {
  const bomb = bytesOf(zstdCompressSync(new Uint8Array(2 ** 30)));
  const frame = dataFrame([1000], bomb, { frameFlags: FRAME_ZSTD });
  const bytes = craft(headFrame(), frame);
  assert.ok(bytes.length < 100_000);
  assert.ok(grown(() => assert.equal(fault(bytes), "compression")) < 200);
});

test("a header that makes no sense is refused, field by field", () => {
  const [device] = header().devices;
  const bad: unknown[] = [
    { devices: undefined },
    { devices: {} },
    { devices: [] },
    { devices: [null] },
    { devices: [[]] },
    { devices: Array.from({ length: 65 }, () => device) },
    { devices: [{ ...device, protocol: "v3" }] },
    { devices: [{ ...device, bus: null }] },
    { devices: [{ ...device, driver: 5 }] },
    { devices: [{ ...device, driver: "x".repeat(257) }] },
    { devices: [{ ...device, driver: "\x1b]0;title\x07" }] },
    { devices: [{ ...device, driver: "right\u202eleft" }] },
    { devices: [{ ...device, mdevType: "two\nlines" }] },
    { devices: [{ ...device, vendorId: -1 }] },
    { devices: [{ ...device, vendorId: 1.5 }] },
    { devices: [{ ...device, vendorId: "0x8086" }] },
    { devices: [{ ...device, vendorId: 65536 }] },
    { devices: [{ ...device, region: { type: 1 } }] },
    { devices: [{ ...device, region: { type: 2 ** 32, subtype: 1 } }] },
    { devices: [{ ...device, region: [1, 1] }] },
    { created: "2026-02-03" },
    { created: "2026-99-03T04:05:06Z" },
    { created: 5 },
    { tool: null },
    { iovaPageSize: 0 },
    { iovaPageSize: 5000 },
    { iovaPageSize: -4096 },
    { iovaPageSize: undefined },
    { complete: undefined },
    { complete: "yes" },
    { digest: "md5" },
    { digest: undefined },
  ];
  for (const changes of bad) {
    const bytes = craft(headFrame(changes as Record<string, unknown>), tail([]));
    assert.equal(fault(bytes), "header", JSON.stringify(changes));
  }
  const texts = [
    "",
    "null",
    "[]",
    "5",
    "{",
    '"text"',
    '{"devices":',
    "\ufeff{}",
    "[".repeat(60_000),
  ];
  for (const meta of texts) {
    assert.equal(fault(craft({ type: FRAME_HEAD, meta })), "header", meta.slice(0, 20));
  }
  assert.equal(fault(craft({ type: FRAME_HEAD, meta: new Uint8Array([0xff, 0xfe]) })), "header");
});

test("names that JavaScript gives a meaning are only names", () => {
  const text = JSON.stringify({ ...header(), complete: true, digest: null });
  const meta = text.replace("{", '{"__proto__":{"polluted":true},"constructor":{},');
  const bytes = craft({ type: FRAME_HEAD, meta }, dataFrame([1], bytesOf(1)));
  assert.equal(fault(bytes), "truncated");
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  const inherited = text.replace('"complete":true,', '"__proto__":{"complete":true},');
  assert.equal(fault(craft({ type: FRAME_HEAD, meta: inherited })), "header");
});

test("fields that a later version adds to the header do no harm", () => {
  const [device] = header().devices;
  const head = headFrame({ memory: { size: 5 }, devices: [{ ...device, serial: "new" }] });
  const bytes = craft(head, dataFrame([1], bytesOf(1)));
  assert.equal(fault(bytes), "truncated");
});

test("a trailer that does not fit is refused, field by field", () => {
  const frames = [dataFrame([2, 1], bytesOf("abc"))];
  const bad: Record<string, unknown>[] = [
    { complete: false },
    { frames: 1 },
    { frames: 3 },
    { storedBytes: 5 },
    { transactions: 1 },
    { bytes: 4 },
    { bytes: -1 },
    { bytes: 2 ** 63 },
    { devices: [] },
    { devices: [{ transactions: 2, bytes: 2 }] },
    { devices: [{ transactions: 2, bytes: 3 }, { transactions: 0, bytes: 0 }] },
    { devices: 5 },
    { sha256: 5 },
    { complete: undefined },
  ];
  for (const changes of bad) {
    const bytes = craft(headFrame(), ...frames, tail(frames, changes));
    assert.equal(fault(bytes), "trailer", JSON.stringify(changes));
  }
  assert.equal(fault(craft(headFrame(), { type: FRAME_TAIL, meta: "{" })), "trailer");
  const differs = read(craft(headFrame(), ...frames, tail(frames, { bytes: 4 }))).error!;
  assert.match(differs.message, /bytes is 4 in the trailer and 3 before it/);
});

test("a transaction that is not finished at the trailer is refused", () => {
  const frames = [dataFrame([2, 1], bytesOf("abc"), { flags: 1 })];
  const { error } = read(craft(headFrame(), ...frames, tail(frames)));
  assert.equal(error?.code, "trailer");
  assert.match(error!.message, /a transaction of device 0 goes on/);
});

test("a digest that differs, is missing, or was not announced is refused", () => {
  const frames = [dataFrame([3], bytesOf("abc"))];
  const zeros = "0".repeat(64);
  const ends = (digest: string | null, sha256: string | null): string | null => {
    const head = headFrame({ digest });
    const storedBytes = craft(head, ...frames).length;
    return fault(craft(head, ...frames, tail(frames, { sha256, storedBytes })));
  };
  const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  assert.equal(ends("sha256", abc), null);
  assert.equal(ends("sha256", zeros), "digest");
  assert.equal(ends("sha256", null), "digest");
  assert.equal(ends(null, abc), "digest");
});

test("an error says where", () => {
  const good = encode([transaction("abc"), transaction("def")]);
  const damaged = good.slice();
  const third = damaged.length - craft(tailFrame({})).length;
  damaged[third]! ^= 1;
  const { error } = read(damaged);
  assert.equal(error?.code, "crc");
  assert.ok(error!.offset >= PREAMBLE_SIZE + FRAME_HEADER_SIZE && error!.offset <= third);
  assert.match(error!.message, new RegExp(`at byte ${error!.offset}`));
});
