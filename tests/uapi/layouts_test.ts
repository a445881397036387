// Compares our tables with the layouts that a C compiler computes (fixtures/layouts).

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import linux5_10 from "../../fixtures/layouts/linux-5.10.json" with { type: "json" };
import linux6_1 from "../../fixtures/layouts/linux-6.1.json" with { type: "json" };
import linux6_12 from "../../fixtures/layouts/linux-6.12.json" with { type: "json" };
import linux7 from "../../fixtures/layouts/linux-7.json" with { type: "json" };
import {
  CONSTANTS,
  type Field,
  IOCTLS,
  isError,
  NOT_IN_6_1,
  setError,
  type StructCodec,
  STRUCTS,
  valid,
  VARIANTS,
} from "../../src/uapi/mod.ts";

interface Layout {
  readonly size: number;
  readonly align: number;
  readonly fields: readonly Field[];
}

interface Headers {
  readonly linux: string;
  readonly ioctls: Readonly<Record<string, number>>;
  readonly constants: Readonly<Record<string, number>>;
  readonly structs: Readonly<Record<string, Layout>>;
  readonly v1_macros: Readonly<Record<string, readonly number[]>>;
}

/** Names of Linux 5.10 and their names since 5.18. */
const RENAMED: ReadonlyMap<string, string> = new Map([
  ["VFIO_REGION_TYPE_MIGRATION", "VFIO_REGION_TYPE_MIGRATION_DEPRECATED"],
  ["VFIO_REGION_SUBTYPE_MIGRATION", "VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED"],
  ["VFIO_DEVICE_STATE_STOP", "VFIO_DEVICE_STATE_V1_STOP"],
  ["VFIO_DEVICE_STATE_RUNNING", "VFIO_DEVICE_STATE_V1_RUNNING"],
  ["VFIO_DEVICE_STATE_SAVING", "VFIO_DEVICE_STATE_V1_SAVING"],
  ["VFIO_DEVICE_STATE_RESUMING", "VFIO_DEVICE_STATE_V1_RESUMING"],
]);

/** Names added between 5.10 and 6.1. */
const NOT_IN_5_10 = [
  /^VFIO_(UNMAP_ALL|UPDATE_VADDR)$/,
  /^VFIO_DMA_(MAP|UNMAP)_FLAG_(VADDR|ALL)$/,
  /^VFIO_DEVICE_FEATURE_(MIG|DMA_LOGGING|LOW_POWER)/,
  /^VFIO_MIGRATION_/,
  /^VFIO_DEVICE_STATE_(?!V1_|MASK)/,
  /^vfio_device_feature_/,
  /^UFFD_(USER_MODE_ONLY|FEATURE_WP_HUGETLBFS_SHMEM)$/,
];

/** One of our structs, as a C compiler describes it; we declare a pointer as u64. */
function layout(codec: StructCodec<object>): Layout {
  return { size: codec.size, align: codec.align, fields: codec.fields };
}

function withoutPointers({ size, align, fields }: Layout): Layout {
  return {
    size,
    align,
    fields: fields.map((field) => ({
      ...field,
      type: field.type === "u64 *" ? "u64" : field.type,
    })),
  };
}

function sorted<V>(table: Readonly<Record<string, V>>): [string, V][] {
  return Object.entries(table).sort(([a], [b]) => a < b ? -1 : 1);
}

function without<V>(
  table: Readonly<Record<string, V>>,
  lacks: (name: string) => boolean,
): Record<string, V> {
  return Object.fromEntries(Object.entries(table).filter(([name]) => !lacks(name)));
}

function ourLayouts(): Record<string, Layout> {
  return Object.fromEntries(
    Object.entries(STRUCTS).map(([name, codec]) => [name, layout(codec)]),
  );
}

function theirLayouts(headers: Headers): Record<string, Layout> {
  return Object.fromEntries(
    Object.entries(headers.structs).map(([name, theirs]) => [name, withoutPointers(theirs)]),
  );
}

describe("Linux 6.1", () => {
  const headers: Headers = linux6_1;
  const lacks = (name: string): boolean => name in NOT_IN_6_1;

  it("every request number is the header's; none is missing and none is extra", () => {
    assert.deepEqual(sorted(without(IOCTLS, lacks)), sorted(headers.ioctls));
  });

  it("every constant is the header's; none is missing and none is extra", () => {
    assert.deepEqual(sorted(without(CONSTANTS, lacks)), sorted(headers.constants));
  });

  it("every field of every struct lies where the compiler puts it", () => {
    assert.deepEqual(sorted(without(ourLayouts(), lacks)), sorted(theirLayouts(headers)));
  });

  it("the macros of device_state answer alike for every state, reserved bits set or not", () => {
    const states = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((state) => [state, 0xffff_fff8 + state])
      .sort((a, b) => a - b);
    assert.deepEqual(headers.v1_macros, {
      VFIO_DEVICE_STATE_VALID: states.map((state) => Number(valid(state))),
      VFIO_DEVICE_STATE_IS_ERROR: states.map((state) => Number(isError(state))),
      VFIO_DEVICE_STATE_SET_ERROR: states.map(setError),
    });
  });
});

describe("Linux 5.10", () => {
  const headers: Headers = linux5_10;
  const lacks = (name: string): boolean =>
    name in NOT_IN_6_1 || NOT_IN_5_10.some((pattern) => pattern.test(name));

  it("every request number is the same", () => {
    assert.deepEqual(sorted(without(IOCTLS, lacks)), sorted(headers.ioctls));
  });

  it("every constant is the same, v1's under their original names", () => {
    const renamed = Object.fromEntries(
      Object.entries(headers.constants).map(([name, value]) => [RENAMED.get(name) ?? name, value]),
    );
    assert.deepEqual(sorted(without(CONSTANTS, lacks)), sorted(renamed));
  });

  it("every struct is the same", () => {
    assert.deepEqual(sorted(without(ourLayouts(), lacks)), sorted(theirLayouts(headers)));
  });
});

/** The structs that grew and had done so by 6.12. */
const GREW_BY_6_12 = ["vfio_device_info"];
/** Fields that later kernels append; they see from argsz that ours lack them. */
const APPENDED: Readonly<Record<string, string>> = {
  vfio_device_attach_iommufd_pt: "pasid",
  vfio_device_detach_iommufd_pt: "pasid",
};

/** The padding at the end of this struct has a name since 6.6; the size is the same. */
function withoutNamedPadding(theirs: Record<string, Layout>): void {
  const info = theirs["vfio_iommu_type1_info"]!;
  assert.deepEqual(info.fields.at(-1), { name: "pad", offset: 20, size: 4, type: "u32" });
  theirs["vfio_iommu_type1_info"] = { ...info, fields: info.fields.slice(0, -1) };
}

function grown(names: readonly string[]): Record<string, Layout> {
  const ours = ourLayouts();
  for (const name of names) ours[name] = layout(VARIANTS[name]!.codec);
  return ours;
}

describe("Linux 6.12", () => {
  const headers: Headers = linux6_12;

  it("every request number and constant is there, but for a draft's and later ones", () => {
    const lacks = (name: string): boolean => /draft|Linux (6.17|7)/.test(NOT_IN_6_1[name] ?? "");
    assert.deepEqual(sorted(IOCTLS), sorted(headers.ioctls));
    assert.deepEqual(sorted(without(CONSTANTS, lacks)), sorted(headers.constants));
  });

  it("structs that grew are the variants, all others are the same", () => {
    const theirs = theirLayouts(headers);
    withoutNamedPadding(theirs);
    assert.deepEqual(sorted(grown(GREW_BY_6_12)), sorted(theirs));
  });
});

describe("Linux 7", () => {
  const headers: Headers = linux7;
  const lacks = (name: string): boolean =>
    name === "VFIO_IOMMU_INFO_DIRTY_PGS" || name === "VFIO_TYPE1_NESTING_IOMMU";

  it("every request number and constant is there, but for a draft's and one that went", () => {
    assert.deepEqual(sorted(IOCTLS), sorted(headers.ioctls));
    assert.deepEqual(sorted(without(CONSTANTS, lacks)), sorted(headers.constants));
  });

  it("structs that grew are the variants, or have their new field behind ours", () => {
    const theirs = theirLayouts(headers);
    withoutNamedPadding(theirs);
    for (const [name, appended] of Object.entries(APPENDED)) {
      const { size, fields, ...rest } = theirs[name]!;
      assert.equal(fields.at(-1)?.name, appended);
      theirs[name] = { ...rest, size: size - fields.at(-1)!.size, fields: fields.slice(0, -1) };
    }
    assert.deepEqual(sorted(grown(Object.keys(VARIANTS))), sorted(theirs));
  });
});
