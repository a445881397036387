import assert from "node:assert/strict";
import { it } from "node:test";
import {
  FRAME_HEAD,
  FRAME_OPTIONAL,
  FRAME_TAIL,
  FRAME_TIME,
} from "../../src/checkpoint/frames/constants.ts";
import { bytesOf, craft, dataFrame, fault, header, headFrame, read, tailOf } from "./_tools.ts";

// Headers and trailers in frames whose CRCs, numbers and chains are right: what
// somebody would write who means harm, or a later version of this program.

it("a header that makes no sense is refused, field by field", () => {
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
    const bytes = craft(headFrame(changes as Record<string, unknown>), tailOf([]));
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

it("a place in a chain that makes no sense is refused, field by field", () => {
  const id = "0123456789abcdef0123456789abcdef";
  const other = id.replaceAll("0", "f");
  const range = { iova: "0x1000", size: "0x2000" };
  const link = { chain: id, id, number: 0, previous: null, memory: [{ ranges: [range] }] };
  const later = { ...link, id: other, number: 3, previous: { id, number: 2 } };
  for (const good of [link, later, { ...link, memory: [{ ranges: [] }], more: 1 }]) {
    assert.equal(fault(craft(headFrame({ link: good }))), "truncated", JSON.stringify(good));
  }
  const ranges = (...list: unknown[]): unknown => ({ ...link, memory: [{ ranges: list }] });
  const bad: unknown[] = [
    null,
    [],
    { ...link, id: "short" },
    { ...link, chain: undefined },
    { ...link, chain: other },
    { ...link, number: -1 },
    { ...link, number: "0" },
    { ...link, previous: undefined },
    { ...link, previous: { id, number: 0 }, number: 1 },
    { ...later, previous: null },
    { ...later, previous: { id, number: 3 } },
    { ...later, previous: { number: 2 } },
    { ...link, memory: [] },
    { ...link, memory: [{ ranges: [] }, { ranges: [] }] },
    { ...link, memory: [{}] },
    ranges({ iova: 4096, size: "0x1000" }),
    ranges({ iova: "4096", size: "0x1000" }),
    ranges({ iova: "0x10", size: "0x1000" }),
    ranges({ iova: "0x1000", size: "0x0" }),
    ranges({ iova: "0xfffffffffffff000", size: "0x2000" }),
    ranges(range, range),
    ranges({ iova: "0x8000", size: "0x1000" }, range),
  ];
  for (const each of bad) {
    assert.equal(fault(craft(headFrame({ link: each }))), "header", JSON.stringify(each));
  }
});

it("names that JavaScript gives a meaning are only names", () => {
  const text = JSON.stringify({ ...header(), complete: true, digest: null });
  const meta = text.replace("{", '{"__proto__":{"polluted":true},"constructor":{},');
  const bytes = craft({ type: FRAME_HEAD, meta }, dataFrame([1], bytesOf(1)));
  assert.equal(fault(bytes), "truncated");
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  const inherited = text.replace('"complete":true,', '"__proto__":{"complete":true},');
  assert.equal(fault(craft({ type: FRAME_HEAD, meta: inherited })), "header");
});

it("fields that a later version adds to the header do no harm", () => {
  const [device] = header().devices;
  const head = headFrame({ memory: { size: 5 }, devices: [{ ...device, serial: "new" }] });
  const bytes = craft(head, dataFrame([1], bytesOf(1)));
  assert.equal(fault(bytes), "truncated");
});

it("a trailer that does not fit is refused, field by field", () => {
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
    const bytes = craft(headFrame(), ...frames, tailOf(frames, changes));
    assert.equal(fault(bytes), "trailer", JSON.stringify(changes));
  }
  assert.equal(fault(craft(headFrame(), { type: FRAME_TAIL, meta: "{" })), "trailer");
  const differs = read(craft(headFrame(), ...frames, tailOf(frames, { bytes: 4 }))).error!;
  assert.match(differs.message, /bytes is 4 in the trailer and 3 before it/);
});

it("a transaction that is not finished at the trailer is refused", () => {
  const frames = [dataFrame([2, 1], bytesOf("abc"), { flags: 1 })];
  const { error } = read(craft(headFrame(), ...frames, tailOf(frames)));
  assert.equal(error?.code, "trailer");
  assert.match(error!.message, /a transaction of device 0 goes on/);
});

it("a digest that differs, is missing, or was not announced is refused", () => {
  const frames = [dataFrame([3], bytesOf("abc"))];
  const zeros = "0".repeat(64);
  const ends = (digest: string | null, sha256: string | null): string | null => {
    const head = headFrame({ digest });
    const storedBytes = craft(head, ...frames).length;
    return fault(craft(head, ...frames, tailOf(frames, { sha256, storedBytes })));
  };
  const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  assert.equal(ends("sha256", abc), null);
  assert.equal(ends("sha256", zeros), "digest");
  assert.equal(ends("sha256", null), "digest");
  assert.equal(ends(null, abc), "digest");
});

it("times that make no sense are refused, field by field", () => {
  const part = { kind: "arc", state: "running", to: "stop", seconds: 1 };
  const good = { phase: "pre-copy", seconds: 1, precopy: null, downtime: [] };
  const precopy = { rounds: [[1, 2, 3]], ended: "drained", pending: null };
  const timed = (...metas: readonly unknown[]): string | null => {
    const frames = metas.map((meta) => ({
      type: FRAME_TIME,
      flags: FRAME_OPTIONAL,
      meta: typeof meta === "string" ? meta : JSON.stringify(meta),
    }));
    const storedBytes = craft(headFrame(), ...frames).length;
    return fault(craft(headFrame(), ...frames, tailOf(frames, { storedBytes })));
  };
  assert.equal(timed(good), null);
  assert.equal(timed({ ...good, added: "later" }, { ...good, phase: "stop-and-copy" }), null);
  assert.equal(timed({ ...good, precopy, downtime: [part] }), null);
  const bad: readonly Record<string, unknown>[] = [
    { phase: "resuming" },
    { seconds: -1 },
    { seconds: "1" },
    { seconds: null },
    { precopy: undefined },
    { precopy: { ...precopy, ended: "tired" } },
    { precopy: { ...precopy, pending: -1 } },
    { precopy: { ...precopy, rounds: [[1, 2]] } },
    { precopy: { ...precopy, rounds: [[1, 2, -3]] } },
    { precopy: { ...precopy, rounds: [[1, 2, "3"]] } },
    { precopy: { ...precopy, rounds: Array.from({ length: 1001 }, () => [1, 2, 3]) } },
    { precopy: { ...precopy, rounds: {} } },
    { downtime: undefined },
    { downtime: [{ ...part, kind: "rest" }] },
    { downtime: [{ ...part, state: "\x1b[2J" }] },
    { downtime: [{ ...part, to: "nowhere" }] },
    { downtime: [{ ...part, seconds: -1 }] },
    { downtime: Array.from({ length: 65 }, () => part) },
  ];
  for (const changes of bad) {
    assert.equal(timed({ ...good, ...changes }), "frame", JSON.stringify(changes));
  }
  for (const text of ["", "null", "[]", "{", '{"seconds":1e999}']) {
    assert.equal(timed(text), "frame", text);
  }
  assert.equal(timed(good, good), "frame");
});

it("times are of a device of the header, and have no body", () => {
  const meta = JSON.stringify({ phase: "pre-copy", seconds: 1, precopy: null, downtime: [] });
  const time = { type: FRAME_TIME, flags: FRAME_OPTIONAL, meta };
  assert.equal(fault(craft(headFrame(), { ...time, device: 1 })), "frame");
  assert.equal(fault(craft(headFrame(), { ...time, body: bytesOf(1) })), "frame");
});
