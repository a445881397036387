import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { SysError } from "../../src/kernel/sys_error.ts";
import type { Kernel, Mapping } from "../../src/kernel/kernel.ts";
import {
  declaredRoom,
  mappableAreas,
  V1DataSection,
} from "../../src/migration/v1/v1_data_section.ts";
import { DriverNotes } from "../../src/vfio/notes/driver_notes.ts";
import type { Region } from "../../src/vfio/device/region.ts";

type Buffer = Uint8Array<ArrayBuffer>;

const PAGE = 4096;

function region(size: number, sparse: { offset: number; size: number }[] | null): Region {
  return {
    index: 9,
    flags: 0,
    size: BigInt(size),
    offset: 0n,
    type: { type: 3, subtype: 1 },
    sparse: sparse?.map((area) => ({ offset: BigInt(area.offset), size: BigInt(area.size) })) ??
      null,
    capabilities: [],
    readable: true,
    writable: true,
    mappable: true,
  };
}

/** A file of memory that notes how each byte was reached. */
class Memory {
  readonly bytes: Buffer;
  readonly calls: string[] = [];
  mappings = 0;
  readonly #refuse: (offset: number) => boolean;

  constructor(length: number, refuse: (offset: number) => boolean = () => false) {
    this.bytes = new Uint8Array(new ArrayBuffer(length));
    this.#refuse = refuse;
  }

  kernel(): Kernel {
    const part = (offset: number, length: number): Buffer =>
      this.bytes.subarray(offset, offset + length);
    return {
      pread: (_fd: number, into: Buffer, offset: number): number => {
        into.set(part(offset, into.length));
        this.calls.push(`pread ${offset}+${into.length}`);
        return into.length;
      },
      pwrite: (_fd: number, from: Buffer, offset: number): number => {
        part(offset, from.length).set(from);
        this.calls.push(`pwrite ${offset}+${from.length}`);
        return from.length;
      },
      mmap: (length: number, { offset }: { offset: number }): Mapping => {
        if (this.#refuse(offset)) throw new SysError("mmap", 22);
        assert.equal(offset % PAGE, 0);
        this.mappings += 1;
        return {
          address: 0n,
          length,
          read: (at: number, into: Buffer): void => {
            assert.ok(at >= 0 && at + into.length <= length);
            into.set(part(offset + at, into.length));
            this.calls.push(`map ${offset + at}+${into.length}`);
          },
          write: (at: number, from: Buffer): void => {
            assert.ok(at >= 0 && at + from.length <= length);
            part(offset + at, from.length).set(from);
            this.calls.push(`map ${offset + at}+${from.length}`);
          },
          close: (): void => {
            this.mappings -= 1;
          },
          [Symbol.dispose]: (): void => {
            this.mappings -= 1;
          },
        };
      },
    } as unknown as Kernel;
  }
}

describe("mappableAreas()", () => {
  it("sorts, merges and cuts what the driver lists", () => {
    const areas = mappableAreas(region(10 * PAGE, [
      { offset: 6 * PAGE, size: 2 * PAGE },
      { offset: PAGE, size: 0 },
      { offset: PAGE, size: 2 * PAGE },
      { offset: 2 * PAGE, size: 2 * PAGE },
      { offset: 9 * PAGE, size: PAGE },
      { offset: 5 * PAGE + 100, size: 200 },
    ]));
    assert.deepEqual(areas, [
      { start: PAGE, end: 4 * PAGE },
      { start: 6 * PAGE, end: 8 * PAGE },
      { start: 9 * PAGE, end: 10 * PAGE },
    ]);
  });

  it("takes the whole region if there is no sparse capability, and nothing if it cannot be mapped", () => {
    assert.deepEqual(mappableAreas(region(3 * PAGE + 5, null)), [{ start: 0, end: 3 * PAGE }]);
    assert.deepEqual(mappableAreas({ ...region(3 * PAGE, null), mappable: false }), []);
  });
});

describe("V1DataSection", () => {
  it("reaches each byte of a transaction that straddles areas the quickest way", () => {
    const memory = new Memory(8 * PAGE);
    using section = new V1DataSection(
      memory.kernel(),
      3,
      region(8 * PAGE, [{ offset: 4 * PAGE, size: PAGE }, { offset: 2 * PAGE, size: PAGE }]),
      new DriverNotes(),
    );
    const data = new Uint8Array(new ArrayBuffer(5 * PAGE)).map((_, index) => index % 251);
    section.write(PAGE + 100, data);
    assert.deepEqual(memory.calls, [
      `pwrite ${PAGE + 100}+${PAGE - 100}`,
      `map ${2 * PAGE}+${PAGE}`,
      `pwrite ${3 * PAGE}+${PAGE}`,
      `map ${4 * PAGE}+${PAGE}`,
      `pwrite ${5 * PAGE}+${PAGE + 100}`,
    ]);
    const back = new Uint8Array(new ArrayBuffer(data.length));
    section.read(PAGE + 100, back);
    assert.deepEqual(back, data);
  });

  it("goes on with pread if an area's mmap fails", () => {
    const memory = new Memory(4 * PAGE, (offset) => offset === PAGE);
    using section = new V1DataSection(
      memory.kernel(),
      3,
      region(4 * PAGE, [{ offset: PAGE, size: PAGE }, { offset: 3 * PAGE, size: PAGE }]),
      new DriverNotes(),
    );
    section.read(PAGE, new Uint8Array(new ArrayBuffer(3 * PAGE)));
    assert.deepEqual(memory.calls, [`pread ${PAGE}+${2 * PAGE}`, `map ${3 * PAGE}+${PAGE}`]);
  });

  it("unmaps everything in the end", () => {
    const memory = new Memory(4 * PAGE);
    {
      using _section = new V1DataSection(
        memory.kernel(),
        3,
        region(4 * PAGE, null),
        new DriverNotes(),
      );
      assert.equal(memory.mappings, 1);
    }
    assert.equal(memory.mappings, 0);
  });

  it("reads what was written, whatever the areas", () => {
    const area = fc.record({
      offset: fc.integer({ min: 0, max: 8 * PAGE }),
      size: fc.integer({ min: 0, max: 4 * PAGE }),
    });
    fc.assert(fc.property(
      fc.array(area, { maxLength: 6 }),
      fc.integer({ min: 32, max: 5 * PAGE }),
      fc.integer({ min: 1, max: 3 * PAGE - 1 }),
      (sparse, offset, length) => {
        const memory = new Memory(8 * PAGE);
        using section = new V1DataSection(
          memory.kernel(),
          3,
          region(8 * PAGE, sparse),
          new DriverNotes(),
        );
        const data = new Uint8Array(new ArrayBuffer(length)).map((_, index) => index % 253 + 1);
        section.write(offset, data);
        assert.deepEqual(memory.bytes.slice(offset, offset + length), data);
        assert.equal(memory.bytes[offset - 1], 0);
        assert.equal(memory.bytes[offset + length], 0);
        const back = new Uint8Array(new ArrayBuffer(length));
        section.read(offset, back);
        assert.deepEqual(back, data);
      },
    ));
  });
});

describe("declaredRoom()", () => {
  const areas = [
    { offset: 3 * PAGE, size: 2 * PAGE },
    { offset: PAGE, size: 100 },
    { offset: 2 * PAGE, size: 0 },
    { offset: 4 * PAGE, size: 3 * PAGE },
  ];

  it("is the rest of the area that is declared there, of the longest if they overlap", () => {
    const declared = region(9 * PAGE, areas);
    assert.equal(declaredRoom(declared, PAGE), 100);
    assert.equal(declaredRoom(declared, PAGE + 99), 1);
    assert.equal(declaredRoom(declared, 3 * PAGE), 2 * PAGE);
    assert.equal(declaredRoom(declared, 4 * PAGE + 5), 3 * PAGE - 5);
  });

  it("is the rest of the region if no area is declared there", () => {
    const declared = region(9 * PAGE, areas);
    assert.equal(declaredRoom(declared, 2 * PAGE), 7 * PAGE);
    assert.equal(declaredRoom(declared, 8 * PAGE), PAGE);
    assert.equal(declaredRoom(region(9 * PAGE, []), PAGE), 8 * PAGE);
    assert.equal(declaredRoom(region(9 * PAGE, null), PAGE), 8 * PAGE);
    assert.equal(declaredRoom({ ...declared, mappable: false }, PAGE), 8 * PAGE);
  });

  it("is nothing outside the region", () => {
    for (const offset of [9 * PAGE, 10 * PAGE, 2 ** 53]) {
      assert.equal(declaredRoom(region(9 * PAGE, areas), offset), 0);
    }
  });
});
