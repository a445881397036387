import assert from "node:assert/strict";
import { it } from "node:test";
import { bzImagePayload } from "./vmlinux.ts";

/** A bzImage with one sector of setup and a payload of these bytes. */
function bzImage(payload: readonly number[]): Uint8Array {
  const image = new Uint8Array(3 * 512);
  const view = new DataView(image.buffer);
  view.setUint8(0x1f1, 1);
  view.setUint32(0x202, 0x53726448, true);
  view.setUint32(0x248, 16, true);
  view.setUint32(0x24c, payload.length, true);
  image.set(payload, 2 * 512 + 16);
  return image;
}

it("bzImagePayload is what stands behind the setup code, without the size at its end", () => {
  assert.deepEqual([...bzImagePayload(bzImage([7, 8, 9, 1, 0, 0, 0]))], [7, 8, 9]);
});

it("bzImagePayload refuses what is no bzImage, or is cut", () => {
  assert.throws(() => bzImagePayload(new Uint8Array(4096)), /not a bzImage/);
  assert.throws(() => bzImagePayload(bzImage([1, 2, 3, 4, 5]).subarray(0, 2 * 512)), /ends behind/);
});
