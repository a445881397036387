import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { describe, it } from "node:test";
import { growPipe } from "../../src/kernel/pipe.ts";

describe("growPipe()", () => {
  it("lets a fifo hold a MiB before a writer has to wait", () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-pipe-"));
    const fifo = path.join(folder, "fifo");
    assert.equal(spawnSync("mkfifo", [fifo]).status, 0);
    // Open for both, so that neither end waits for the other.
    const fd = fs.openSync(fifo, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
    try {
      growPipe(fd);
      assert.equal(fs.writeSync(fd, new Uint8Array(1 << 20)), 1 << 20);
      assert.throws(() => fs.writeSync(fd, new Uint8Array(1)), { code: "EAGAIN" });
    } finally {
      fs.closeSync(fd);
      fs.rmSync(folder, { recursive: true });
    }
  });

  it("leaves what is no pipe alone", () => {
    const fd = fs.openSync("/dev/null", "r");
    growPipe(fd);
    fs.closeSync(fd);
    growPipe(987_654);
  });
});
