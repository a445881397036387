import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DeviceMemory } from "../../src/dirty/mod.ts";
import { CopiedMemory } from "./_naive_bitmap.ts";

describe("the memory of a device", () => {
  it("is all zero but for one byte, wherever that is, also where only a copy can tell", () => {
    const bytes = new Uint8Array(4 * 4096);
    const part = { iova: 0x10000n, size: BigInt(bytes.length), offset: 0 };
    const memory = new DeviceMemory([{ ...part, memory: new CopiedMemory(bytes) }]);
    for (const [iova, length] of [[0x10000n, 4096], [0x11000n, 4096], [0x11000n, 8192]] as const) {
      assert.equal(memory.isZero(iova, length), true);
      for (const at of [0, 1, 63, 64, 65, 127, 128, 4095, length - 64, length - 1]) {
        const where = Number(iova - part.iova) + at;
        bytes[where] = 0x80;
        assert.equal(memory.isZero(iova, length), false, `byte ${at} of ${length}`);
        bytes[where] = 0;
      }
    }
    bytes[0] = bytes[8192] = 1;
    assert.equal(memory.isZero(0x11000n, 4096), true);
  });

  it("refuses what is outside of it, or known by its address only", () => {
    const memory = new DeviceMemory([{ iova: 0n, size: 4096n, offset: 0, memory: null }]);
    assert.throws(() => memory.isZero(0n, 4096), /only the memory's address is known/);
    assert.throws(() => memory.isZero(4096n, 4096), /nothing is mapped there/);
  });
});
