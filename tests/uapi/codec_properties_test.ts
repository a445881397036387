// Properties of every struct, and of randomly generated structs.

import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import {
  array,
  type FieldTable,
  struct,
  type StructCodec,
  STRUCTS,
  tail,
} from "../../src/uapi/mod.ts";

const RANGES = {
  u8: fc.integer({ min: 0, max: 0xff }),
  u16: fc.integer({ min: 0, max: 0xffff }),
  u32: fc.integer({ min: 0, max: 0xffff_ffff }),
  s32: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }),
  u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
} as const;
type Scalar = keyof typeof RANGES;
const scalar = fc.constantFrom<Scalar[]>("u8", "u16", "u32", "s32", "u64");

/** Any value of a struct; the codec fills in the lengths of tails. */
function valueOf(codec: StructCodec<object>): fc.Arbitrary<object> {
  const lengths = codec.fields.at(-1)?.size === 0 ? ["argsz", "nr_areas", "nr_iovas"] : [];
  const fields = codec.fields.filter((field) => !lengths.includes(field.name));
  const record = Object.fromEntries(fields.map(({ name, type }) => [name, valueOfType(type)]));
  return fc.record(record, { noNullPrototype: true });
}

function valueOfType(type: string): fc.Arbitrary<unknown> {
  if (type === "u8[]") return fc.uint8Array({ maxLength: 64 });
  const bytes = /^u8\[(\d+)\]$/.exec(type)?.[1];
  if (bytes !== undefined) return fc.uint8Array({ minLength: +bytes, maxLength: +bytes });
  if (type.endsWith("[]")) return fc.array(valueOfType(type.slice(0, -2)), { maxLength: 8 });
  if (type.startsWith("struct ")) return valueOf(STRUCTS[type.slice(7)]!);
  return RANGES[type as Scalar];
}

for (const [name, codec] of Object.entries(STRUCTS)) {
  it(`struct ${name} comes back from bytes as it went in, at any offset`, () => {
    fc.assert(
      fc.property(valueOf(codec), fc.nat(9), (value, at) => {
        const packed = codec.pack(value);
        const memory = new Uint8Array(at + packed.length + 1).fill(0xa5);
        assert.deepEqual(codec.pack(value, memory, at), packed);
        assert.deepEqual([memory[at - 1] ?? 0xa5, memory.at(-1)], [0xa5, 0xa5]);

        const back = codec.unpack(memory, at);
        assert.deepEqual({ ...back, ...value }, back);
        assert.deepEqual(codec.pack(back), packed);
      }),
      { numRuns: 50 },
    );
  });
}

it("a struct of random fields is laid out and copied as C would", () => {
  const field = fc.record({ type: scalar, count: fc.nat(3) });
  fc.assert(
    fc.property(
      fc.array(field, { minLength: 1, maxLength: 10 }),
      fc.infiniteStream(fc.nat()),
      (fields, noise) => {
        const table = Object.fromEntries(
          fields.map(({ type, count }, i) => [`f${i}`, count === 0 ? type : array(type, count)]),
        );
        const codec = struct<object>("random", table as FieldTable<object>);

        let end = 0;
        let largest = 1;
        for (const [i, { type, count }] of fields.entries()) {
          const size = Number(type.slice(1)) / 8;
          const { offset, size: total } = codec.fields[i]!;
          assert.equal(offset % size, 0);
          assert.ok(offset >= end && offset - end < size, "no more padding than needed");
          assert.equal(total, size * Math.max(count, 1));
          end = offset + total;
          largest = Math.max(largest, size);
        }
        assert.equal(codec.align, largest);
        assert.ok(codec.size % largest === 0 && codec.size >= end && codec.size - end < largest);

        const bytes = Uint8Array.from({ length: codec.size }, () => noise.next().value!);
        const value = codec.unpack(bytes);
        assert.deepEqual(codec.unpack(codec.pack(value)), value);
      },
    ),
  );
});

it("a tail of random scalars comes back as it went in", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("u16", "u32", "s32").chain((type) =>
        fc.tuple(fc.constant(type), fc.array(RANGES[type]))
      ),
      ([type, items]) => {
        const codec = struct<{ n: number; items: readonly number[] }>("list", {
          n: "u16",
          items: tail(type, "n"),
        });
        const back = codec.unpack(codec.pack({ items }));
        assert.deepEqual(back, { n: items.length, items });
      },
    ),
  );
});

it("a number outside its range is refused", () => {
  const limits: Record<Exclude<Scalar, "u64">, [number, number]> = {
    u8: [0, 0xff],
    u16: [0, 0xffff],
    u32: [0, 0xffff_ffff],
    s32: [-0x8000_0000, 0x7fff_ffff],
  };
  const number = fc.oneof(
    fc.double(),
    fc.maxSafeInteger(),
    fc.constantFrom(-1, 256, 2 ** 31, 2 ** 32),
  );
  fc.assert(
    fc.property(fc.constantFrom("u8", "u16", "u32", "s32"), number, (type, value) => {
      const codec = struct<{ x: number }>("s", { x: type });
      const [min, max] = limits[type];
      if (Number.isInteger(value) && value >= min && value <= max) {
        assert.equal(codec.unpack(codec.pack({ x: value })).x, value + 0);
      } else {
        assert.throws(() => codec.pack({ x: value }), RangeError);
      }
    }),
    { numRuns: 500 },
  );
});
