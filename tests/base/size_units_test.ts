import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bandwidth, size, wide } from "../../cli/specs/value_parsers.ts";
import { parseQuantity, SIZE_UNITS } from "../../src/base/size_units.ts";
import { parseSize } from "../../src/sim/units.ts";

const GIB = 2 ** 30;

describe("a size", () => {
  const sizes: readonly (readonly [text: string, bytes: number])[] = [
    ["4096", 4096],
    ["64KiB", 65536],
    ["64k", 65536],
    ["1M", 2 ** 20],
    ["10G", 10 * GIB],
    ["10GiB", 10 * GIB],
    ["2t", 2 ** 41],
    ["7B", 7],
  ];
  for (const [text, bytes] of sizes) {
    it(`means the same to each option: ${text}`, () => {
      assert.equal(parseQuantity(text, SIZE_UNITS), bytes);
      assert.equal(parseSize(text), bytes);
      assert.deepEqual(size().parse(text), { success: true, value: bytes });
      assert.deepEqual(wide("SIZE").parse(text), { success: true, value: BigInt(bytes) });
      assert.deepEqual(bandwidth().parse(text), { success: true, value: bytes });
    });
  }

  it("may be a fraction of a unit", () => {
    assert.equal(parseQuantity("1.5MiB", SIZE_UNITS), 1.5 * 2 ** 20);
    assert.equal(parseQuantity("0.3K", SIZE_UNITS), 307);
  });

  for (const text of ["", "G", "-1", "1e3", "0x10", "1 M", "1.M", "10MB", "3XiB", "9000000000M"]) {
    it(`is none: "${text}"`, () => assert.equal(parseQuantity(text, SIZE_UNITS), null));
  }
});

describe("a bandwidth", () => {
  it("may be in bits, with decimal prefixes; and in bytes with either", () => {
    const rates = [["10Gbit", 1.25e9], ["400Mbit", 5e7], ["10GB", 1e10], ["1TB", 1e12]] as const;
    for (const [text, value] of rates) {
      assert.deepEqual(bandwidth().parse(text), { success: true, value }, text);
    }
  });
});
