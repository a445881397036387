import assert from "node:assert/strict";
import * as fs from "node:fs";
import { it } from "node:test";
import { asyncWrite } from "../../src/kernel/process/async_write.ts";

const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

it("bytes are written at the fd's current position", async () => {
  const folder = fs.mkdtempSync("/tmp/vfiokit-write-");
  const fd = fs.openSync(`${folder}/a`, "w");
  assert.equal(await asyncWrite(fd, bytes("one ")), 4);
  assert.equal(await asyncWrite(fd, bytes("and two").subarray(4)), 3);
  fs.closeSync(fd);
  assert.equal(fs.readFileSync(`${folder}/a`, "utf8"), "one two");
  fs.rmSync(folder, { recursive: true });
});

it("a failure reports the errno of its own write", async () => {
  const full = fs.openSync("/dev/full", "w");
  await assert.rejects(asyncWrite(full, bytes("x")), { code: "ENOSPC" });
  fs.closeSync(full);
  const readOnly = fs.openSync("/dev/zero", "r");
  await assert.rejects(asyncWrite(readOnly, bytes("x")), { code: "EBADF" });
  fs.closeSync(readOnly);
});
