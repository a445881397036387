import fc from "fast-check";
import assert from "node:assert/strict";
import { it } from "node:test";
import { plainLoops } from "../../src/dirty/bitmap/_bitmap_scan_plain.ts";

const BLOCK_AT = 64;
const OUT = 32768;
const BLOCK_BYTES = 256;
const SET_BITS = 0;
const EDGES = -1;

/** What the loops make of two blocks, one after the other. */
function scanned(blocks: readonly Uint8Array[], edges: number): number[] {
  const loops = plainLoops(10 * 65536);
  const memory = new Uint8Array(loops.memory.buffer);
  return blocks.flatMap((block, index) => {
    memory.set(block, BLOCK_AT);
    const end = BLOCK_AT + BLOCK_BYTES;
    const count = loops.count(end);
    const out = loops.scan(end, index * BLOCK_BYTES * 8, OUT, edges);
    return [count, ...new Uint32Array(loops.memory.buffer, OUT, (out - OUT) / 4)];
  });
}

/** The same, bit by bit. */
function naive(blocks: readonly Uint8Array[], edges: number): number[] {
  let before = false;
  return blocks.flatMap((block, index) => {
    const found: number[] = [];
    let count = 0;
    for (let bit = 0; bit < BLOCK_BYTES * 8; bit++) {
      const set = (block[bit >>> 3]! & (1 << (bit & 7))) !== 0;
      if (set) count++;
      if (edges === EDGES ? set !== before : set) found.push(index * BLOCK_BYTES * 8 + bit);
      before = set;
    }
    return [count, ...found];
  });
}

const byte = fc.oneof(fc.constantFrom(0, 0, 0xff, 0xff, 0x80, 0x01), fc.nat(255));
const block = fc.array(byte, { minLength: BLOCK_BYTES, maxLength: BLOCK_BYTES })
  .map((bytes) => Uint8Array.from(bytes));

for (const [what, edges] of [["set bits", SET_BITS], ["ends of runs", EDGES]] as const) {
  it(`the loops in JavaScript find the ${what} of one block after the other`, () => {
    fc.assert(fc.property(fc.tuple(block, block), (blocks) => {
      assert.deepEqual(scanned(blocks, edges), naive(blocks, edges));
    }));
  });

  it(`the loops in JavaScript find the ${what} of nothing but zeros, or ones`, () => {
    for (const value of [0, 0xff]) {
      const blocks = [0, 1].map(() => new Uint8Array(BLOCK_BYTES).fill(value));
      assert.deepEqual(scanned(blocks, edges), naive(blocks, edges));
    }
  });
}
