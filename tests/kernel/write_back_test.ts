import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { describe, it } from "node:test";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { startWriteBack } from "../../src/kernel/process/write_back.ts";

describe("startWriteBack()", () => {
  it("accepts a part of a regular file, and does not change the file", () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-write-back-"));
    const fd = fs.openSync(path.join(folder, "file"), "w+");
    try {
      fs.writeSync(fd, new Uint8Array(1 << 20).fill(7));
      assert.equal(startWriteBack(fd, 4096, 1 << 16), true);
      const back = new Uint8Array(1 << 20);
      assert.equal(fs.readSync(fd, back, 0, back.length, 0), back.length);
      assert.ok(back.every((byte) => byte === 7));
    } finally {
      fs.closeSync(fd);
      fs.rmSync(folder, { recursive: true });
    }
  });

  it("returns false for a socket, and for an fd that is not open", () => {
    const sockets = libcKernel().socketPair();
    assert.equal(startWriteBack(sockets[0], 0, 4096), false);
    for (const socket of sockets) libcKernel().close(socket);
    assert.equal(startWriteBack(987_654, 0, 4096), false);
  });
});
