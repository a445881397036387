import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { it } from "node:test";
import fc from "fast-check";
import { cpio, type CpioEntry } from "./cpio.ts";

/** A member as the kernel's unpacker finds it. */
interface Member {
  readonly name: string;
  readonly mode: number;
  readonly data: Buffer;
}

/** Reads an archive as init/initramfs.c does: fixed header, name, data, each aligned to 4. */
function members(archive: Buffer): Member[] {
  const found: Member[] = [];
  const aligned = (at: number): number => at + (4 - at % 4) % 4;
  for (let at = 0;;) {
    const field = (index: number): number =>
      parseInt(archive.toString("latin1", at + 6 + 8 * index, at + 14 + 8 * index), 16);
    assert.equal(archive.toString("latin1", at, at + 6), "070701");
    const [mode, size, nameSize] = [field(1), field(6), field(11)];
    const nameAt = at + 110;
    assert.equal(archive[nameAt + nameSize - 1], 0);
    const name = archive.toString("utf8", nameAt, nameAt + nameSize - 1);
    const dataAt = aligned(nameAt + nameSize);
    at = aligned(dataAt + size);
    if (name === "TRAILER!!!") {
      assert.equal(at, archive.length);
      return found;
    }
    found.push({ name, mode, data: archive.subarray(dataAt, dataAt + size) });
  }
}

it("cpio gives folders, files and links their types and permissions", () => {
  const entries: CpioEntry[] = [
    { path: "bin", kind: "folder" },
    { path: "bin/sh", kind: "link", target: "busybox" },
    { path: "bin/busybox", kind: "file", data: new Uint8Array([1, 2, 3]), mode: 0o755 },
    { path: "etc", kind: "file" },
  ];
  const read = members(Buffer.concat(cpio(entries)));
  assert.deepEqual(
    read.map(({ name, mode, data }) => [name, mode.toString(8), data.toString("latin1")]),
    [
      ["bin", "40755", ""],
      ["bin/sh", "120777", "busybox"],
      ["bin/busybox", "100755", "\x01\x02\x03"],
      ["etc", "100644", ""],
    ],
  );
});

it("cpio keeps names and bytes of any length", () => {
  const file = fc.record({
    path: fc.string({ minLength: 1, maxLength: 40 }).filter((name) => !/\0|TRAILER/.test(name)),
    data: fc.uint8Array({ maxLength: 40 }),
  });
  fc.assert(fc.property(fc.array(file), (files) => {
    const entries = files.map((each): CpioEntry => ({ kind: "file", ...each }));
    const read = members(Buffer.concat(cpio(entries)));
    assert.deepEqual(
      read.map(({ name }) => name),
      files.map(({ path }) => Buffer.from(path).toString()),
    );
    assert.deepEqual(read.map(({ data }) => [...data]), files.map(({ data }) => [...data]));
  }));
});
