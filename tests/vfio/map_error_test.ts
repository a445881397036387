import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import { openFds } from "../../src/kernel/fd.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE } from "../../src/uapi/mod.ts";
import { Type1Container } from "../../src/vfio/dma/container.ts";
import { DmaError } from "../../src/vfio/dma/dma_error.ts";
import { DmaMemory } from "../../src/vfio/dma/dma_memory.ts";
import { Group } from "../../src/vfio/open/group.ts";
import type { IovaRange } from "../../src/vfio/dma/iova.ts";
import { mapError } from "../../src/vfio/dma/map_error.ts";

const RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
const PAGE = 0x1000n;
const TOP = 1n << 64n;

interface Setting {
  readonly container: Type1Container;
  readonly memory: DmaMemory;
  map(iova: bigint, size: bigint, flags?: number): void;
}

function withContainer(query: string, use: (setting: Setting) => void): void {
  const kernel = new SimKernel(`trapped?${query === "" ? "size=4KiB" : query}`);
  {
    using memory = DmaMemory.allocate(kernel, 1 << 20);
    using container = Type1Container.open(kernel);
    using group = Group.open(kernel, "/dev/vfio/0");
    container.attach(group);
    const map = (iova: bigint, size: bigint, flags = RW): void =>
      container.map({ iova, size, vaddr: memory.address, flags });
    use({ container, memory, map });
  }
  assert.deepEqual(kernel.openObjects, []);
  assert.deepEqual(openFds(), []);
}

function refusal(run: () => void): { code: string; message: string; hint: string } {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof DmaError, String(error));
    assert.equal((error.cause as { code: string }).code, error.code);
    return { code: error.code, message: error.message, hint: error.hint?.text ?? "" };
  }
  assert.fail("nothing was thrown");
}

describe("memory that cannot be mapped", () => {
  it("overlaps a mapping: which one", () => {
    withContainer("", ({ map, container }) => {
      map(0x10000n, 2n * PAGE);
      map(0x20000n, PAGE);
      const { code, message } = refusal(() => map(0x1f000n, 4n * PAGE));
      assert.equal(code, "EEXIST");
      assert.match(message, /^Cannot map 0x1f000-0x22fff for DMA: .* mapping 0x20000-0x20fff/);
      assert.equal(container.mappings.length, 2);
    });
  });

  it("overlaps what another user mapped", () => {
    withContainer("", ({ map, container }) => {
      map(0n, PAGE);
      container.forget(0n);
      assert.match(refusal(() => map(0n, PAGE)).message, /that somebody else made/);
    });
  });

  it("has a shape that cannot be mapped: how", () => {
    withContainer("", ({ map, container, memory }) => {
      for (
        const [iova, size, text] of [
          [0n, 0n, /it has 0 bytes/],
          [1n, PAGE, /not in whole pages of 4096 bytes/],
          [0n, 100n, /not in whole pages of 4096 bytes/],
          [TOP - PAGE, 2n * PAGE, /it reaches beyond 2\^64/],
        ] as const
      ) {
        const { code, message } = refusal(() => map(iova, size));
        assert.equal(code, "EINVAL");
        assert.match(message, text);
      }
      assert.match(refusal(() => map(0n, PAGE, 0)).message, /neither read nor write/);
      const crooked = { iova: 0n, size: PAGE, vaddr: memory.address + 1n, flags: RW };
      assert.match(refusal(() => container.map(crooked)).message, /does not begin at a page/);
    });
  });

  it("lies where the IOMMU does not reach: where it does", () => {
    withContainer("iommu=all-dirty", ({ map }) => {
      const { code, message } = refusal(() => map(0xfee0_0000n, PAGE));
      assert.equal(code, "EINVAL");
      assert.match(message, /maps 0x0-0xfedfffff, 0xfef00000-0xffffffffffff/);
      map(0xfef0_0000n, PAGE);
    });
  });

  it("is not there", () => {
    withContainer("iommu=all-dirty", ({ container }) => {
      const nowhere = { iova: 0n, size: PAGE, vaddr: 0x10000n, flags: RW };
      assert.match(refusal(() => container.map(nowhere)).message, /not mapped in this process/);
    });
  });

  it("may not be locked: the limit, and how to raise it", () => {
    withContainer("iommu=all-dirty&memlock=64KiB", ({ map }) => {
      map(0n, 0x8000n);
      const { code, message, hint } = refusal(() => map(0x10000n, 0x9000n));
      assert.equal(code, "ENOMEM");
      assert.match(message, /may lock 65536 bytes .* 32768 are mapped, and 36864 more were wanted/);
      assert.match(hint, /ulimit -l.*LimitMEMLOCK.*CAP_IPC_LOCK/);
      map(0x10000n, 0x8000n);
    });
  });

  it("is not said to be the limit's fault if that is not reached", () => {
    withContainer("iommu=all-dirty&memlock=64KiB&fault=map:1:ENOMEM", ({ map }) => {
      const { message } = refusal(() => map(0n, PAGE));
      assert.match(message, /what else is locked counts as well, or the kernel has no memory/);
    });
  });

  it("finds no memory in the kernel, if nothing limits the process", () => {
    withContainer("fault=map:1:ENOMEM", ({ map }) => {
      assert.match(refusal(() => map(0n, PAGE)).message, /the kernel has no memory/);
    });
  });

  it("is one mapping too many: how to have more", () => {
    withContainer("fault=map:1:ENOSPC", ({ map }) => {
      const { message, hint } = refusal(() => map(0n, PAGE));
      assert.match(message, /takes no more mappings/);
      assert.match(hint, /dma_entry_limit/);
    });
  });

  it("is one mapping too many, and how many are left cannot be read", () => {
    const mapping = { iova: 0n, size: PAGE, vaddr: PAGE, flags: RW };
    const error = new SysError("ioctl", ERRNO.ENOSPC, "container");
    const context = { where: "container", info: null, mappings: [], memlock: null } as const;
    const { message } = mapError(error, mapping, context);
    assert.match(message, /the container takes no more mappings \(ENOSPC\)$/);
  });

  it("reaches too far: that is said before anything about pages, as the kernel checks it", () => {
    const error = new SysError("ioctl", ERRNO.EOVERFLOW, "IOAS");
    const info = { pgsizes: PAGE, iovaRanges: null };
    const context = { where: "IOAS", info, mappings: [], memlock: null } as const;
    const why = (iova: bigint, vaddr: bigint): string =>
      mapError(error, { iova, size: 2n * PAGE, vaddr, flags: RW }, context).message;
    assert.match(why(TOP - 1n, PAGE), /: it reaches beyond 2\^64 \(EOVERFLOW\)$/);
    assert.match(why(0n, TOP - PAGE), /: its memory would reach beyond 2\^64 \(EOVERFLOW\)$/);
  });

  it("is refused for no known reason", () => {
    withContainer("fault=map:1:EIO", ({ map }) => {
      const { message } = refusal(() => map(0n, PAGE));
      assert.equal(
        message,
        "Cannot map 0x0-0xfff for DMA: the kernel does not say more (EIO)",
      );
    });
  });
});

describe("memory that cannot be unmapped", () => {
  it("would be cut: which mapping", () => {
    withContainer("", ({ map, container }) => {
      map(0n, PAGE);
      map(0x10000n, 4n * PAGE);
      const { message } = refusal(() => container.unmap(0n, 0x12000n));
      assert.match(message, /^Cannot unmap 0x0-0x11fff: the mapping 0x10000-0x13fff would be cut/);
      assert.equal(container.mappings.length, 2);
    });
  });

  it("has a shape that cannot be", () => {
    withContainer("", ({ container }) => {
      assert.match(refusal(() => container.unmap(0n, 0n)).message, /it has 0 bytes/);
      assert.match(refusal(() => container.unmap(1n, PAGE)).message, /whole pages/);
      assert.match(refusal(() => container.unmap(TOP - PAGE, 2n * PAGE)).message, /beyond 2\^64/);
    });
  });

  it("is partly of another process", () => {
    withContainer("", ({ map, container }) => {
      map(0n, 4n * PAGE);
      container.forget(0n);
      assert.match(refusal(() => container.unmap(0n, PAGE)).message, /may cut a mapping/);
    });
  });
});

describe("the list of mappings", () => {
  it("takes mappings that the caller names, and none that cannot be", () => {
    withContainer("", ({ map, container }) => {
      map(0x10000n, PAGE);
      container.know({ iova: 0x2000n, size: PAGE });
      assert.deepEqual(container.mappings.map(({ iova }) => iova), [0x2000n, 0x10000n]);
      for (const iova of [0x10000n, 0xf000n]) {
        const mapping = { iova, size: 2n * PAGE };
        assert.throws(() => container.know(mapping), /overlaps 0x10000-0x10fff/);
      }
      assert.throws(() => container.know({ iova: 0n, size: 0n }), RangeError);
      assert.throws(() => container.know({ iova: TOP - PAGE, size: 2n * PAGE }), RangeError);
    });
  });
});

describe("memory that an IOMMU does not map there", () => {
  const HT: readonly IovaRange[] = [
    { start: 0n, end: 0xfedfffffn },
    { start: 0xfef00000n, end: 0xfcffffffffn },
    { start: 0x10000000000n, end: 0xffffffffffffn },
  ];
  const table: readonly (readonly [
    what: string,
    iova: bigint,
    size: bigint,
    ranges: readonly IovaRange[],
    why: RegExp,
  ])[] = [
    ["in AMD's HyperTransport range", 0xfd00000000n, PAGE, HT, /AMD's HyperTransport range/],
    ["and at its end", 0xfffffff000n, PAGE, HT, /0xfd00000000-0xffffffffff is a hole \(AMD/],
    [
      "across the MSI window",
      0xfed00000n,
      1n << 24n,
      HT,
      /0xfee00000-0xfeefffff is a hole \(the MSI/,
    ],
    ["across into a hole", 0xfcfffff000n, 2n * PAGE, HT, /0xfd00000000-0xffffffffff is a hole/],
    ["behind all", 1n << 48n, PAGE, HT, /does not reach that far: it maps 0x0-0xfedfffff, /],
    ["in a range that is the end", 0xfd00000000n, PAGE, HT.slice(0, 2), /HyperTransport range\)/],
    ["behind such an end", 1n << 40n, PAGE, HT.slice(0, 2), /does not reach that far/],
    ["before all", 0n, PAGE, [{ start: 0x4000n, end: 0xffffn }], /0x0-0x3fff is a hole that/],
    [
      "in Arm's MSI window",
      0x8000000n,
      PAGE,
      [{ start: 0n, end: 0x7ffffffn }, { start: 0x8100000n, end: 0xffffffffffffn }],
      /0x8000000-0x80fffff is a hole \(the MSI window of Arm's SMMU\)/,
    ],
    [
      "in a hole that nobody knows",
      0x20000n,
      PAGE,
      [{ start: 0n, end: 0x1ffffn }, { start: 0x40000n, end: 0xfffffn }],
      /: 0x20000-0x3ffff is a hole that the IOMMU leaves out: it maps 0x0-0x1ffff, 0x40000-/,
    ],
    ["of none at all", 0n, PAGE, [], /does not reach that far: it maps nothing \(EINVAL\)$/],
  ];
  for (const [what, iova, size, iovaRanges, why] of table) {
    it(`gets the reason: ${what}`, () => {
      const error = mapError(
        new SysError("ioctl", 22),
        { iova, size, vaddr: 0n, flags: RW },
        {
          info: { pgsizes: 0x1000n, iovaRanges },
          ...{ where: "container", mappings: [], memlock: null } as const,
        },
      );
      assert.match(error.message, why);
    });
  }
});
