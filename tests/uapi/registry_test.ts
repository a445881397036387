import assert from "node:assert/strict";
import { it } from "node:test";
import * as uapi from "../../src/uapi/mod.ts";
import {
  CONSTANTS,
  describeUapi,
  IOCTLS,
  NOT_IN_6_1,
  STRUCTS,
  VARIANTS,
} from "../../src/uapi/mod.ts";

it("everything that the folder exports is in the tables, under its own name", () => {
  const numbers = Object.entries(uapi).filter(([, value]) => typeof value === "number");
  assert.deepEqual({ ...IOCTLS, ...CONSTANTS }, Object.fromEntries(numbers));

  const codecs = Object.entries(uapi)
    .filter(([, value]) => typeof value === "object" && "pack" in value)
    .map(([name, codec]) => ({ name, codec: codec as uapi.StructCodec<object> }));
  for (const { name, codec } of codecs) {
    const camelCase = codec.name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
    if (STRUCTS[codec.name] === codec) assert.equal(name, camelCase);
    else assert.equal(VARIANTS[codec.name]?.codec, codec, `${name} is nowhere`);
  }
  assert.equal(codecs.length, Object.keys(STRUCTS).length + Object.keys(VARIANTS).length);
});

it("every note is about an existing name", () => {
  for (const name of Object.keys(NOT_IN_6_1)) {
    assert.ok(name in IOCTLS || name in CONSTANTS || name in STRUCTS, name);
  }
});

it("describeUapi returns request numbers in hexadecimal, constants and layouts", () => {
  const all = describeUapi();
  assert.equal(all.schema, "vfiokit/uapi/1");
  assert.equal(all.ioctls["VFIO_DEVICE_RESET"], "0x3b6f");
  assert.equal(all.constants["VFIO_REGION_TYPE_PCI_VENDOR_TYPE"], 2 ** 31);
  assert.deepEqual(all.structs["vfio_region_info"], {
    size: 32,
    fields: [
      { name: "argsz", offset: 0, size: 4, type: "u32" },
      { name: "flags", offset: 4, size: 4, type: "u32" },
      { name: "index", offset: 8, size: 4, type: "u32" },
      { name: "cap_offset", offset: 12, size: 4, type: "u32" },
      { name: "size", offset: 16, size: 8, type: "u64" },
      { name: "offset", offset: 24, size: 8, type: "u64" },
    ],
  });
  assert.deepEqual(Object.keys(all.ioctls), Object.keys(IOCTLS));
  assert.deepEqual(Object.keys(all.constants), Object.keys(CONSTANTS));
  assert.deepEqual(Object.keys(all.structs), Object.keys(STRUCTS));
});

it("describeUapi returns plain data: it survives JSON", () => {
  const all = describeUapi();
  assert.deepEqual(JSON.parse(JSON.stringify(all)), all);
});

it("describeUapi with a name returns only that name", () => {
  const only = (name: string): unknown => {
    const { ioctls, constants, structs, notes } = describeUapi(name);
    return [ioctls, constants, structs, notes].map((table) => Object.keys(table));
  };
  assert.deepEqual(only("VFIO_SET_IOMMU"), [["VFIO_SET_IOMMU"], [], [], []]);
  assert.deepEqual(only("VFIO_BASE"), [[], ["VFIO_BASE"], [], []]);
  assert.deepEqual(only("struct vfio_bitmap"), [[], [], ["vfio_bitmap"], []]);
  assert.deepEqual(only("vfio_precopy_info"), [[], [], ["vfio_precopy_info"], [
    "vfio_precopy_info",
  ]]);
  assert.deepEqual(only("vfio"), [[], [], [], []]);
  assert.deepEqual(only("constructor"), [[], [], [], []]);
});

it("describeUapi returns both layouts of a struct that grew", () => {
  const info = describeUapi("vfio_device_info").structs["vfio_device_info"];
  assert.equal(info?.size, 20);
  assert.equal(info?.later?.since, "Linux 6.6");
  assert.equal(info?.later?.size, 24);
  assert.deepEqual(info?.later?.fields.at(-1), { name: "pad", offset: 20, size: 4, type: "u32" });
});
