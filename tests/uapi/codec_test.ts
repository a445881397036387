import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { it } from "node:test";
import { array, struct, tail } from "../../src/uapi/codec.ts";
import type { StructCodec } from "../../src/uapi/struct_types.ts";
import {
  vfioBitmap,
  vfioDeviceFeature,
  vfioDeviceFeatureMigState,
  vfioDeviceInfo,
  vfioIommuType1DirtyBitmapGet,
  vfioIommuType1InfoCapMigration,
  vfioRegionInfo,
  vfioRegionInfoCapSparseMmap,
} from "../../src/uapi/mod.ts";

interface Mixed {
  a: number;
  b: bigint;
  c: number;
  d: number;
  e: Uint8Array;
  f: readonly bigint[];
  g: readonly { x: number; y: number }[];
}

const point: StructCodec<{ x: number; y: number }> = struct("point", { x: "u16", y: "s32" });
const mixed: StructCodec<Mixed> = struct("mixed", {
  a: "u8",
  b: "u64",
  c: "u16",
  d: "s32",
  e: array("u8", 3),
  f: array("u64", 2),
  g: array(point, 2),
});

it("fields lie on their natural alignment and the size is rounded up", () => {
  assert.deepEqual(mixed.fields, [
    { name: "a", offset: 0, size: 1, type: "u8" },
    { name: "b", offset: 8, size: 8, type: "u64" },
    { name: "c", offset: 16, size: 2, type: "u16" },
    { name: "d", offset: 20, size: 4, type: "s32" },
    { name: "e", offset: 24, size: 3, type: "u8[3]" },
    { name: "f", offset: 32, size: 16, type: "u64[2]" },
    { name: "g", offset: 48, size: 16, type: "struct point[2]" },
  ]);
  assert.equal(mixed.size, 64);
  assert.equal(mixed.align, 8);
  assert.equal(point.align, 4);
  assert.equal(struct<{ a: bigint; b: number }>("s", { a: "u64", b: "u8" }).size, 16);
});

it("values are little-endian and lie where C puts them", () => {
  const bytes = vfioRegionInfo.pack({
    argsz: 0x01020304,
    flags: 0xffff_ffff,
    index: 9,
    size: 0x1122_3344_5566_7788n,
    offset: 2n ** 64n - 1n,
  });
  assert.equal(
    Buffer.from(bytes).toString("hex"),
    "04030201" + "ffffffff" + "09000000" + "00000000" + "8877665544332211" + "ffffffffffffffff",
  );
});

it("a field that is left out is zero, but argsz is the size", () => {
  assert.deepEqual(vfioDeviceInfo.unpack(vfioDeviceInfo.pack({ num_irqs: 5 })), {
    argsz: 20,
    flags: 0,
    num_regions: 0,
    num_irqs: 5,
    cap_offset: 0,
  });
  assert.equal(vfioDeviceInfo.unpack(vfioDeviceInfo.pack({ argsz: 0 })).argsz, 0);
  assert.deepEqual([...mixed.pack({})], Array(64).fill(0));
});

it("a value that doesn't fit is refused, and the error names struct and field", () => {
  const refusals: [() => unknown, string][] = [
    [
      () => vfioRegionInfo.pack({ index: 2 ** 32 }),
      "vfio_region_info.index: 4294967296 is not a u32",
    ],
    [() => vfioRegionInfo.pack({ index: -1 }), "vfio_region_info.index: -1 is not a u32"],
    [() => vfioRegionInfo.pack({ index: 1.5 }), "vfio_region_info.index: 1.5 is not a u32"],
    [() => vfioRegionInfo.pack({ index: NaN }), "vfio_region_info.index: NaN is not a u32"],
    [() => vfioRegionInfo.pack({ size: -1n }), "vfio_region_info.size: -1 is not a u64"],
    [
      () => vfioRegionInfo.pack({ size: 2n ** 64n }),
      "vfio_region_info.size: 18446744073709551616 is not a u64",
    ],
    [() => mixed.pack({ a: 256 }), "mixed.a: 256 is not a u8"],
    [() => mixed.pack({ c: 65536 }), "mixed.c: 65536 is not a u16"],
    [() => mixed.pack({ d: 2 ** 31 }), "mixed.d: 2147483648 is not a s32"],
    [() => mixed.pack({ d: -(2 ** 31) - 1 }), "mixed.d: -2147483649 is not a s32"],
    [() => mixed.pack({ f: [1n, -1n] }), "mixed.f[1]: -1 is not a u64"],
    [() => mixed.pack({ f: [1n] }), "mixed.f: 1 elements, 2 needed"],
    [() => mixed.pack({ e: new Uint8Array(4) }), "mixed.e: 4 elements, 3 needed"],
    [
      () => vfioIommuType1DirtyBitmapGet.pack({ bitmap: { pgsize: 0n, size: -1n, data: 0n } }),
      "vfio_bitmap.size: -1 is not a u64",
    ],
  ];
  for (const [pack, words] of refusals) {
    assert.throws(pack, new RangeError(`Cannot pack ${words}`));
  }
});

it("a value of another type is refused, and the error names struct and field", () => {
  const wrong = <T>(codec: StructCodec<T>, value: unknown): () => unknown => () =>
    codec.pack(value as Partial<T>);
  const refusals: [() => unknown, string][] = [
    [wrong(vfioBitmap, { size: 8 }), "vfio_bitmap.size: a u64 is a bigint, not number"],
    [wrong(vfioRegionInfo, { index: 1n }), "vfio_region_info.index: a u32 is a number, not bigint"],
    [wrong(mixed, { d: "1" }), "mixed.d: a s32 is a number, not string"],
    [wrong(mixed, { d: null }), "mixed.d: a s32 is a number, not null"],
    [wrong(mixed, { e: [1, 2, 3] }), "mixed.e: an array of u8 is a Uint8Array, not object"],
    [wrong(mixed, { f: 7n }), "mixed.f: an array of u64 is an array, not bigint"],
    [wrong(mixed, { g: [1, 2] }), "mixed.g[0]: a struct point is an object, not number"],
  ];
  for (const [pack, words] of refusals) {
    assert.throws(pack, new TypeError(`Cannot pack ${words}`));
  }
});

it("s32 holds -1, as data_fd does", () => {
  const bytes = vfioDeviceFeatureMigState.pack({ device_state: 1, data_fd: -1 });
  assert.deepEqual(vfioDeviceFeatureMigState.unpack(bytes), { device_state: 1, data_fd: -1 });
});

it("packing into a buffer writes the struct and its padding, nothing around it", () => {
  const buffer = new Uint8Array(40).fill(0xee);
  const packed = vfioIommuType1InfoCapMigration.pack({ flags: 1, pgsize_bitmap: 4096n }, buffer, 3);
  assert.equal(packed.buffer, buffer.buffer);
  assert.deepEqual([packed.byteOffset, packed.byteLength], [3, 32]);
  assert.deepEqual([...packed.subarray(12, 16)], [0, 0, 0, 0]);
  assert.deepEqual([...buffer.subarray(0, 3)], [0xee, 0xee, 0xee]);
  assert.deepEqual([...buffer.subarray(35)], Array(5).fill(0xee));
});

it("unpacking ignores padding and the bytes after the struct", () => {
  const bytes = new Uint8Array(40).fill(0xff);
  bytes.set(vfioIommuType1InfoCapMigration.pack({ pgsize_bitmap: 4096n }), 4);
  bytes.fill(0xff, 16, 20);
  assert.equal(vfioIommuType1InfoCapMigration.unpack(bytes, 4).pgsize_bitmap, 4096n);
  assert.equal(vfioIommuType1InfoCapMigration.unpack(bytes, 4).flags, 0);
});

it("a buffer that is too short is refused, before it is written", () => {
  const buffer = new Uint8Array(40).fill(0xee);
  const refusals: [() => unknown, string][] = [
    [
      () => vfioRegionInfo.pack({}, buffer, 9),
      "pack vfio_region_info: 32 bytes needed at offset 9, the buffer has 40",
    ],
    [
      () => vfioRegionInfo.unpack(buffer, 9),
      "unpack vfio_region_info: 32 bytes needed at offset 9, the buffer has 40",
    ],
    [
      () => vfioRegionInfo.unpack(buffer, -1),
      "unpack vfio_region_info: offset -1 is not a position",
    ],
    [
      () => vfioRegionInfo.pack({}, buffer, 0.5),
      "pack vfio_region_info: offset 0.5 is not a position",
    ],
  ];
  for (const [action, words] of refusals) assert.throws(action, new RangeError(`Cannot ${words}`));
  assert.deepEqual([...buffer], Array(40).fill(0xee));
});

it("a view at an odd offset of its buffer is read and written in place", () => {
  const memory = new Uint8Array(64);
  vfioRegionInfo.pack({ size: 77n }, memory.subarray(5, 60), 2);
  assert.equal(vfioRegionInfo.unpack(memory.subarray(7)).size, 77n);
});

it("a tail of structs is as long as its length field says", () => {
  const areas = [{ offset: 4096n, size: 8192n }, { offset: 65536n, size: 4096n }];
  const header = { id: 1, version: 1, next: 0 };
  const bytes = vfioRegionInfoCapSparseMmap.pack({ header, areas });
  assert.equal(bytes.length, 48);
  assert.deepEqual(vfioRegionInfoCapSparseMmap.unpack(bytes), {
    header,
    nr_areas: 2,
    reserved: 0,
    areas,
  });
  assert.equal(vfioRegionInfoCapSparseMmap.size, 16);
});

it("a tail of bytes ends at argsz", () => {
  const bytes = vfioDeviceFeature.pack({ flags: 2, data: new Uint8Array([1, 2, 3]) });
  assert.deepEqual([...bytes], [11, 0, 0, 0, 2, 0, 0, 0, 1, 2, 3]);
  assert.deepEqual([...vfioDeviceFeature.unpack(bytes).data], [1, 2, 3]);
  assert.deepEqual([...vfioDeviceFeature.pack({})], [8, 0, 0, 0, 0, 0, 0, 0]);
});

it("a length that is given is written unchanged, even if it is wrong", () => {
  const bytes = vfioRegionInfoCapSparseMmap.pack({ nr_areas: 0xffff_ffff });
  assert.throws(
    () => vfioRegionInfoCapSparseMmap.unpack(bytes),
    new RangeError(
      "Cannot unpack vfio_region_info_cap_sparse_mmap.areas: 68719476720 bytes needed at offset 16, the buffer has 16",
    ),
  );
  assert.throws(
    () => vfioDeviceFeature.unpack(vfioDeviceFeature.pack({ argsz: 7 })),
    new RangeError("Cannot unpack vfio_device_feature.data: argsz 7 is less than 8"),
  );
});

it("a tail may begin in the padding at the end of the struct", () => {
  const s = struct<{ a: bigint; n: number; data: Uint8Array }>("s", {
    a: "u64",
    n: "u8",
    data: tail("u8", "n"),
  });
  assert.deepEqual([s.size, s.offsetOf("data")], [16, 9]);
  assert.equal(s.pack({ data: new Uint8Array(3) }).length, 16);
  assert.equal(s.pack({ data: new Uint8Array(9) }).length, 18);
});

it("the unpacked value is a copy", () => {
  const bytes = vfioDeviceFeature.pack({ data: new Uint8Array([1]) });
  const { data } = vfioDeviceFeature.unpack(bytes);
  bytes.fill(9);
  assert.deepEqual([...data], [1]);
});

it("a layout that C cannot express is refused", () => {
  const refusals: [() => unknown, string][] = [
    [
      () =>
        struct<{ n: number; a: Uint8Array; b: number }>("s", {
          n: "u32",
          a: tail("u8", "n"),
          b: "u8",
        }),
      "lay out s.a: a tail must be the last field",
    ],
    [
      () => struct<{ a: Uint8Array }>("s", { a: tail("u8", "n") }),
      'lay out s.a: no field "n" before it',
    ],
    [
      () =>
        struct<{ argsz: number; big: bigint; n: number; a: Uint8Array }>("s", {
          argsz: "argsz",
          big: "u64",
          n: "u32",
          a: tail("u8", "argsz"),
        }),
      "lay out s.a: it would overlap padding",
    ],
    [
      () => struct<{ a: object }>("s", { a: vfioDeviceFeature as StructCodec<object> }),
      "nest struct vfio_device_feature: it ends in a flexible array",
    ],
  ];
  for (const [make, words] of refusals) assert.throws(make, new TypeError(`Cannot ${words}`));
  for (const count of [0, -1, 1.5]) {
    assert.throws(() => array("u8", count), RangeError);
  }
});

it("an unknown field has no offset", () => {
  assert.throws(
    () => vfioBitmap.offsetOf("length" as "size"),
    new TypeError('No field "length" in struct vfio_bitmap'),
  );
});
