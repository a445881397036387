import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { run, which } from "./host.ts";
import { unpack } from "./packed.ts";

const plain = Buffer.from("\x7fELF, and more of it".repeat(100));

it("unpack undoes zstd", () => {
  assert.deepEqual(Buffer.from(unpack(zstdCompressSync(plain))), plain);
});

it("unpack undoes xz", { skip: which("xz") === null && "no xz on this machine" }, () => {
  const folder = mkdtempSync(join(tmpdir(), "vfiokit-lab-test-"));
  try {
    writeFileSync(join(folder, "plain"), plain);
    const packed = run("xz", ["--compress", "--stdout", join(folder, "plain")]);
    assert.deepEqual(Buffer.from(unpack(packed)), plain);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("unpack leaves what is not packed", () => {
  assert.equal(unpack(plain), plain);
});
