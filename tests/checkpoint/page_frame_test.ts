import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CheckpointError } from "../../src/checkpoint/checkpoint_error.ts";
import { CheckpointEncoder } from "../../src/checkpoint/format/checkpoint_encoder.ts";
import {
  CheckpointReader,
  type Hashes,
  type Pages,
} from "../../src/checkpoint/format/checkpoint_reader.ts";
import {
  FRAME_HASH,
  FRAME_HEADER_SIZE,
  FRAME_OPTIONAL,
  FRAME_PAGE,
  FRAME_ZSTD,
} from "../../src/checkpoint/frames/constants.ts";
import { describeFrame } from "../../src/checkpoint/frames/frame_writer.ts";
import { MAX_HASHED, packHashHead } from "../../src/checkpoint/frames/hash_frame.ts";
import {
  type PageEntry,
  pageHeadSize,
  writePageMeta,
} from "../../src/checkpoint/frames/page_frame.ts";
import { compressToFrame } from "../../src/checkpoint/frames/zstd.ts";
import { newHeader } from "../../src/checkpoint/metadata/header.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { openDevice } from "../../src/migration/device.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A head and body of a frame. */
type Made = readonly [head: Bytes, body: Bytes];

function page(entries: readonly PageEntry[], body: Bytes, device = 0): Made {
  const head = new Uint8Array(new ArrayBuffer(pageHeadSize(entries.length)));
  writePageMeta(head, entries);
  describeFrame(head, { type: FRAME_PAGE, flags: FRAME_OPTIONAL, device }, body);
  return [head, body];
}

function zstd(entries: readonly PageEntry[], body: Bytes): Made {
  const [head] = page(entries, body);
  const flags = FRAME_OPTIONAL | FRAME_ZSTD;
  describeFrame(head, { type: FRAME_PAGE, flags, device: 0 }, body);
  return [head, body];
}

function hash(iova: bigint, length: number, body: Bytes): Made {
  const head = packHashHead({ iova, length });
  describeFrame(head, { type: FRAME_HASH, flags: FRAME_OPTIONAL, device: 0 }, body);
  return [head, body];
}

async function stream(frames: readonly Made[]): Promise<Bytes> {
  const kernel = new SimKernel("sim:mlx5");
  await using device = await openDevice(kernel.devices[0]!.path, { kernel });
  const encoder = new CheckpointEncoder(newHeader([device.description.identity!]));
  const parts: Uint8Array[] = [...encoder.begin()];
  for (const [head, body] of frames) parts.push(...encoder.place(head, body.length), head, body);
  const data = new Uint8Array(new ArrayBuffer(8)).fill(3);
  parts.push(...encoder.transaction({ device: 0, phase: "stop-and-copy", data, more: false }));
  parts.push(...encoder.end());
  return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
}

interface Read {
  readonly pages: Pages[];
  readonly hashes: Hashes[];
  readonly batches: number;
  readonly reader: CheckpointReader;
}

function read(bytes: Bytes, keep: boolean): Read {
  const pages: Pages[] = [];
  const hashes: Hashes[] = [];
  const reader = new CheckpointReader(
    keep
      ? {
        allocate: ({ bodyLength }) => new Uint8Array(new ArrayBuffer(bodyLength)),
        pages: (each) => pages.push({ ...each, meta: each.meta.slice() }),
        hashes: (each) => hashes.push(each),
      }
      : {},
  );
  const batches = [...reader.push(bytes)].length;
  reader.end();
  return { pages, hashes, batches, reader };
}

const BYTES = new Uint8Array(new ArrayBuffer(8192)).fill(7);
const ENTRIES: readonly PageEntry[] = [
  { iova: 0x1000n, length: 8192, zero: false },
  { iova: (1n << 64n) - 0x1000n, length: 4096, zero: true },
];

describe("frames about memory", () => {
  it("are read as they were written, among those of the device", async () => {
    const sums = new Uint8Array(new ArrayBuffer(32)).fill(9);
    const bytes = await stream([page(ENTRIES, BYTES), hash(0x4000n, 8192, sums)]);
    const { pages, hashes, batches, reader } = read(bytes, true);
    assert.deepEqual(pages.map(({ device, entries, body }) => ({ device, entries, body })), [
      { device: 0, entries: ENTRIES, body: BYTES },
    ]);
    assert.deepEqual(hashes, [{ iova: 0x4000n, length: 8192, device: 0, hashes: sums }]);
    assert.equal(batches, 1);
    assert.equal(reader.pageBytes, 8192 + 4096);
  });

  it("are checked and left out by a reader of the device's state", async () => {
    const bytes = await stream([page(ENTRIES, BYTES), hash(0n, 4096, BYTES.slice(0, 16))]);
    const { batches, reader } = read(bytes, false);
    assert.deepEqual([batches, reader.trailer!.frames], [1, 4]);
    const damaged = bytes.slice();
    damaged[bytes.indexOf(7)]! ^= 1;
    assert.throws(() => read(damaged, false), (error: CheckpointError) => error.code === "crc");
  });

  it("may be compressed, and are checked as that even if they are left out", async () => {
    const packed = compressToFrame(BYTES)!;
    const bytes = await stream([zstd(ENTRIES, packed)]);
    const { pages, reader } = read(bytes, true);
    assert.deepEqual(pages.map(({ entries, body }) => [entries, [...body]]), [
      [ENTRIES, [...BYTES]],
    ]);
    assert.equal(reader.pageBytes, 8192 + 4096);
    assert.equal(read(bytes, false).reader.pageBytes, 8192 + 4096);
    const one = { iova: 0x1000n, length: 4096, zero: false };
    const huge = { iova: 0n, length: 2 ** 24, zero: false };
    for (
      const [entries, body, code] of [
        [[one], packed, "compression"],
        [[{ ...one, length: 12_288 }], packed, "compression"],
        [[one], BYTES, "compression"],
        [[{ ...one, zero: true }], packed, "compression"],
        // What it would unpack to is bounded before it is unpacked.
        [[huge, { ...huge, iova: 2n ** 24n }], packed, "length"],
      ] as const
    ) {
      const bad = await stream([zstd(entries, body)]);
      for (const keep of [true, false]) {
        assert.throws(() => read(bad, keep), (error: CheckpointError) => error.code === code, code);
      }
    }
  });

  it("are refused where they make no sense", async () => {
    const one = { iova: 0x1000n, length: 4096, zero: false };
    const none = BYTES.slice(0, 0);
    const bad: Readonly<Record<string, Made>> = {
      "no entries": page([], none),
      "bytes that are missing": page([one], none),
      "bytes that are left": page([{ ...one, zero: true }], BYTES.slice(0, 4096)),
      "a length of 0": page([{ ...one, length: 0 }], none),
      "half a page": page([{ ...one, length: 2048 }], BYTES.slice(0, 2048)),
      "an odd address": page([{ ...one, iova: 1n, zero: true }], none),
      "memory beyond 2^64": page(
        [{ iova: (1n << 64n) - 0x1000n, length: 8192, zero: true }],
        none,
      ),
      "another device": page([one], BYTES.slice(0, 4096), 1),
      "too few hashes": hash(0n, 8192, BYTES.slice(0, 16)),
      "hashes of nothing": hash(0n, 0, none),
      "hashes of too much": hash(0n, MAX_HASHED + 4096, none),
      "hashes of half a page": hash(0n, 2048, BYTES.slice(0, 8)),
    };
    for (const [what, frame] of Object.entries(bad)) {
      const bytes = await stream([frame]);
      assert.throws(
        () => read(bytes, true),
        (error: CheckpointError) => error instanceof CheckpointError && error.code === "frame",
        what,
      );
    }
    const [head, body] = page([one], BYTES.slice(0, 4096));
    new DataView(head.buffer).setUint32(FRAME_HEADER_SIZE + 12, 3, true);
    describeFrame(head, { type: FRAME_PAGE, flags: FRAME_OPTIONAL, device: 0 }, body);
    const kind = await stream([[head, body]]);
    assert.throws(() => read(kind, true), /memory of kind 3/);
  });
});
