import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  packArgs,
  packValue,
  unpackArgs,
  unpackValue,
} from "../../src/migration/thread/posted_bytes.ts";

/** The views in a message, and the arrays of more than a few elements. */
function slowToPost(value: unknown): unknown[] {
  if (ArrayBuffer.isView(value) || (Array.isArray(value) && value.length > 4)) return [value];
  if (typeof value !== "object" || value === null || value instanceof ArrayBuffer) return [];
  return Object.values(value).flatMap(slowToPost);
}

const buffer = Uint8Array.from({ length: 64 }, (_, index) => index).buffer;
const bytes = new Uint8Array(buffer, 8, 40);
const batch = { bytes, sizes: [10, 10, 10, 5, 5], more: true };
const taken = { ...batch, sizes: Uint32Array.from(batch.sizes) };

describe("bytes between the threads", () => {
  it("come over as they are in arguments, and are no views on the way", () => {
    for (
      const [method, args, expected] of [
        ["pull", [bytes], [bytes]],
        ["push", [batch], [taken]],
        ["setState", ["stop", "leave"], ["stop", "leave"]],
      ] as const
    ) {
      const posted = packArgs(method, args);
      assert.deepEqual(slowToPost(posted), [], method);
      assert.deepEqual(unpackArgs(method, structuredClone(posted)), expected, method);
    }
  });

  it("come over as they are in answers, and are no views on the way", () => {
    for (
      const [method, value, expected] of [
        ["pull", { batch, ended: false }, { batch: taken, ended: false }],
        ["readRegion", bytes, bytes],
        ["state", { state: "running" }, { state: "running" }],
      ] as const
    ) {
      const posted = packValue(method, value);
      assert.deepEqual(slowToPost(posted), [], method);
      assert.deepEqual(unpackValue(method, structuredClone(posted)), expected, method);
    }
  });
});
