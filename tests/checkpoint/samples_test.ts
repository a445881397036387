import assert from "node:assert/strict";
import * as fs from "node:fs";
import { it } from "node:test";
import {
  DEVICES_HEADER,
  SAMPLE_HEADER,
  SAMPLE_TIMES,
  samples,
} from "../../fixtures/checkpoints/samples.ts";
import { CheckpointReader } from "../../src/checkpoint/format/checkpoint_reader.ts";
import { type Bytes, read, whole } from "./_tools.ts";

// The samples of every version ever released are read here. They are never made
// anew: a change that these tests do not take needs a new version of the format.

function sample(name: string): Bytes {
  return new Uint8Array(
    fs.readFileSync(new URL(`../../fixtures/checkpoints/${name}`, import.meta.url)),
  );
}

const RUNNING = [
  "0 pre-copy The device runs while this is read. ",
  "0 pre-copy And this.",
];

it("version 1: pre-copy and stop-and-copy", () => {
  const { trailer, transactions, batches } = read(sample("version-1.vfk"));
  assert.deepEqual(whole(transactions), [
    ...RUNNING,
    "0 stop-and-copy The device has stopped: this is the rest of it.\n",
  ]);
  assert.deepEqual(batches.map(({ micros }) => micros), [500, 750, 1000]);
  assert.deepEqual(trailer, {
    complete: true,
    frames: 4,
    storedBytes: 610,
    transactions: 3,
    bytes: 93,
    sha256: null,
    devices: [{ transactions: 3, bytes: 93 }],
  });
});

it("version 1: the header", () => {
  const reader = new CheckpointReader();
  for (const batch of reader.push(sample("version-1.vfk"))) assert.equal(batch.device, 0);
  assert.deepEqual(reader.header, { ...SAMPLE_HEADER, complete: true, digest: null });
});

it("version 1: the pre-copy phase alone", () => {
  const { trailer, transactions } = read(sample("version-1-precopy.vfk"));
  assert.deepEqual(whole(transactions), RUNNING);
  assert.equal(trailer?.complete, false);
});

it("version 1: two devices, read at the same time", () => {
  const bytes = sample("version-1-devices.vfk");
  const { trailer, transactions, batches } = read(bytes);
  assert.deepEqual(batches.map(({ device }) => device), [0, 0, 1, 0, 1]);
  assert.deepEqual(whole(transactions), [
    ...RUNNING,
    "0 stop-and-copy The device has stopped: this is the rest of it.\n",
    "1 stop-and-copy The second one was read at the same time.\n",
  ]);
  assert.deepEqual(trailer?.devices, [
    { transactions: 3, bytes: 93 },
    { transactions: 1, bytes: 42 },
  ]);
  const reader = new CheckpointReader();
  for (const _ of reader.push(bytes));
  assert.deepEqual(reader.header, { ...DEVICES_HEADER, complete: true, digest: null });
  // The time of each device goes on by itself.
  assert.deepEqual(
    reader.phases.map(({ device, phase, seconds }) => [device, phase, Math.round(seconds * 1e6)]),
    [[0, "pre-copy", 500], [0, "stop-and-copy", 750], [1, "stop-and-copy", 1500]],
  );
});

it("version 1: how the phases went", () => {
  const bytes = sample("version-1-times.vfk");
  const { transactions } = read(bytes);
  assert.deepEqual(whole(transactions), whole(read(sample("version-1.vfk")).transactions));
  const reader = new CheckpointReader();
  for (const _ of reader.push(bytes));
  assert.deepEqual(reader.times, SAMPLE_TIMES);
  assert.deepEqual(
    reader.phases.map(({ device, phase, seconds }) => [device, phase, seconds]),
    SAMPLE_TIMES.map(({ device, phase, seconds }) => [device, phase, seconds]),
  );
});

it("version 1: zstd and sha256", () => {
  const { trailer, transactions } = read(sample("version-1-zstd.vfk"));
  assert.deepEqual(whole(transactions), [...RUNNING, `0 stop-and-copy ${"\0".repeat(4096)}`]);
  assert.equal(
    trailer?.sha256,
    "243cc874a215912fa36ba0488d2fdb8741212f9b5f8506e1d54052e6ee881d6c",
  );
});

it("what is written today is the sample of this version, byte for byte", () => {
  const now = samples();
  // But for zstd, whose output differs from one release to the next.
  for (const name of ["", "-precopy", "-devices", "-times"].map((part) => `version-1${part}.vfk`)) {
    assert.deepEqual(now[name], sample(name), name);
  }
});

it("the sample in docs/checkpoint-format.md is the sample", () => {
  const page = fs.readFileSync(
    new URL("../../docs/checkpoint-format.md", import.meta.url),
    "utf8",
  );
  const rows = [...page.matchAll(/^([0-9a-f]{4}) {2}((?:[0-9a-f]{2} ?)+)(?: |$)/gm)];
  let offset = 0;
  for (const [, at, bytes] of rows) {
    assert.equal(parseInt(at!, 16), offset);
    offset += bytes!.trim().split(" ").length;
  }
  const hex = rows.map(([, , bytes]) => bytes!.replaceAll(" ", "")).join("");
  assert.equal(hex, Buffer.from(sample("version-1.vfk")).toString("hex"));
});
