import assert from "node:assert/strict";
import { it } from "node:test";
import { bytesToCacheLine } from "../../src/kernel/libc/cache_line.ts";
import { libc } from "../../src/kernel/libc/calls_with_errno.ts";

it("a buffer's first cache line is found by its address", () => {
  const bytes = new Uint8Array(4096);
  const first = bytesToCacheLine(bytes);
  assert.equal(libc().addressOf(bytes.subarray(first)) % 64n, 0n);
  const counts = Array.from(
    { length: 65 },
    (_, at) => bytesToCacheLine(bytes.subarray(first + at)),
  );
  assert.deepEqual(counts, [0, ...Array.from({ length: 63 }, (_, at) => 63 - at), 0]);
  assert.equal(bytes.findIndex((byte) => byte !== 0), -1);
});
