import assert from "node:assert/strict";
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_GET_API_VERSION,
  VFIO_SET_IOMMU,
} from "../../src/uapi/mod.ts";
import type { AddressSpace } from "../../src/vfio/dma/address_space.ts";
import { Type1Container } from "../../src/vfio/dma/container.ts";
import { Group } from "../../src/vfio/open/group.ts";
import { UnsupportedError } from "../../src/vfio/reasons/unsupported_error.ts";
import { capability, fakeVfio, GROUP_PATH, join } from "./_fake_vfio.ts";
import { leakFreeTest } from "./_leak_free.ts";

const FLAGS = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

function reasonOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof UnsupportedError, String(error));
    return error.reasons[0]!.code;
  }
  assert.fail("nothing was thrown");
}

leakFreeTest("the list of mappings is what was mapped and not taken back", () => {
  const kernel = new SimKernel("trapped");
  using container = Type1Container.open(kernel);
  using group = Group.open(kernel, "/dev/vfio/0");
  container.attach(group);
  using memory = kernel.mmap(0x4000, {
    prot: PROT_READ | PROT_WRITE,
    flags: MAP_PRIVATE | MAP_ANONYMOUS,
  });
  const space: AddressSpace = container;
  const vaddr = memory.address;
  space.map({ iova: 0x10000n, size: 0x2000n, vaddr, flags: FLAGS });
  space.map({ iova: 0x8000n, size: 0x1000n, vaddr: vaddr + 0x2000n, flags: FLAGS });
  const both = [{ iova: 0x8000n, size: 0x1000n }, { iova: 0x10000n, size: 0x2000n }];
  assert.deepEqual(space.mappings, both);

  const again = { iova: 0x11000n, size: 0x1000n, vaddr, flags: FLAGS };
  assert.throws(() => space.map(again), {
    name: "DmaError",
    code: "EEXIST",
    message: "Cannot map 0x11000-0x11fff for DMA: it overlaps the mapping 0x10000-0x11fff (EEXIST)",
  });
  assert.throws(() => space.unmap(0x10000n, 0x1000n), { code: "EINVAL" });
  assert.deepEqual(space.mappings, both, "what failed changed nothing");

  assert.equal(space.unmap(0x20000n, 0x1000n), 0n);
  assert.equal(space.unmap(0x8000n, 0x1000n), 0x1000n);
  assert.deepEqual(space.mappings, [both[1]]);
  assert.equal(space.unmap(0n, 1n << 32n), 0x2000n);
  assert.deepEqual(space.mappings, []);
});

leakFreeTest("a number that does not fit its field is refused before the kernel sees it", () => {
  const kernel = new SimKernel("trapped");
  using container = Type1Container.open(kernel);
  assert.throws(
    () => container.map({ iova: 1n << 64n, size: 4096n, vaddr: 0n, flags: FLAGS }),
    RangeError,
  );
  assert.deepEqual(container.mappings, []);
});

leakFreeTest("the recorded answer of Linux 6.1 for a PCI device is read whole", () => {
  const kernel = fakeVfio({
    iommuCapabilities: join(
      capability(2, 56, [0, 0, 0x1000, 0, 0x1000_0000, 0]),
      capability(3, 68, [65535]),
      capability(1, 0, [2, 0, 0, 0, 0xfedf_ffff, 0, 0xfef0_0000, 0, 0xffff_ffff, 0xffff]),
    ),
  });
  using container = Type1Container.open(kernel);
  assert.deepEqual(container.info(), {
    pgsizes: 0x40201000n,
    iovaRanges: [
      { start: 0n, end: 0xfedf_ffffn },
      { start: 0xfef0_0000n, end: 0xffff_ffff_ffffn },
    ],
    migration: { pgsizes: 0x1000n, maxBitmapBytes: 268435456 },
    draftDirtyPages: false,
    dmaAvail: 65535,
  });
});

leakFreeTest("a container without capabilities says so, and a broken one names its fault", () => {
  using plain = Type1Container.open(fakeVfio());
  assert.deepEqual(plain.info(), {
    pgsizes: 0x40201000n,
    iovaRanges: null,
    migration: null,
    draftDirtyPages: false,
    dmaAvail: null,
  });
  const broken = (iommuCapabilities: Uint8Array<ArrayBuffer>): () => unknown => () => {
    using container = Type1Container.open(fakeVfio({ iommuCapabilities }));
    return container.info();
  };
  assert.throws(broken(capability(1, 0, [0x1000_0000, 0])), /container .* is truncated/);
  assert.throws(broken(capability(2, 0, [0])), { name: "CapabilityError", defect: "truncated" });
  assert.throws(
    broken(capability(2, 0, [0, 0, 0x1000, 0, 0, 0x8000_0000])),
    /max_dirty_bitmap_size of container .* beyond 2\^53/,
  );
});

leakFreeTest("a container that cannot be used says why, and is closed again", () => {
  const missing = fakeVfio();
  missing.nodes.delete("/dev/vfio/vfio");
  assert.equal(reasonOf(() => Type1Container.open(missing)), "no-vfio");
  const refused = fakeVfio();
  refused.nodes.set("/dev/vfio/vfio", "EACCES");
  assert.equal(reasonOf(() => Type1Container.open(refused)), "no-permission");
  for (
    const [fake, code] of [
      [{ apiVersion: 1 }, "api-version"],
      [{ type1v2: false }, "no-type1v2"],
    ] as const
  ) {
    const kernel = fakeVfio(fake);
    assert.equal(reasonOf(() => Type1Container.open(kernel)), code);
    assert.equal(kernel.fds.size, 0);
  }
  const failing = fakeVfio({ failing: new Map([[VFIO_GET_API_VERSION, "EIO"]]) });
  assert.throws(() => Type1Container.open(failing), { name: "OpenError", code: "group-refused" });
  assert.equal(failing.fds.size, 0);
});

leakFreeTest("an IOMMU that does not remap interrupts is distinguished from a missing one", () => {
  for (const [errno, code] of [["EPERM", "unsafe-interrupts"], ["EIO", "no-domain"]] as const) {
    const kernel = fakeVfio({ failing: new Map([[VFIO_SET_IOMMU, errno]]) });
    using container = Type1Container.open(kernel);
    using group = Group.open(kernel, GROUP_PATH);
    assert.equal(reasonOf(() => container.attach(group)), code);
  }
});

leakFreeTest("a second group joins a container that has its IOMMU", () => {
  const kernel = new SimKernel("trapped", "mapped");
  {
    using container = Type1Container.open(kernel);
    using first = Group.open(kernel, "/dev/vfio/0");
    using second = Group.open(kernel, "/dev/vfio/1");
    container.attach(first);
    container.attach(second);
    assert.equal(second.status().containerSet, true);
    assert.equal(second.number, 1);
  }
  assert.deepEqual(kernel.openObjects, []);
});

/** A group of the simulated kernel, in this container, with its device; closed, both are gone. */
function joined(kernel: SimKernel, container: Type1Container, number = 0): Disposable {
  const group = Group.open(kernel, `/dev/vfio/${number}`);
  container.attach(group);
  const device = group.openDevice(kernel.devices[number]!.path);
  return {
    [Symbol.dispose](): void {
      device.close();
      group.close();
    },
  };
}

leakFreeTest("with its last group a container loses its IOMMU, and what was mapped", () => {
  const kernel = new SimKernel("trapped", "mapped");
  using memory = kernel.mmap(0x1000, {
    prot: PROT_READ | PROT_WRITE,
    flags: MAP_PRIVATE | MAP_ANONYMOUS,
  });
  const page = { iova: 0x10000n, size: 0x1000n, vaddr: memory.address, flags: FLAGS };
  using container = Type1Container.open(kernel);
  assert.equal(container.hasIommu, false);
  {
    using _first = joined(kernel, container);
    assert.equal(container.hasIommu, true);
    {
      using _second = joined(kernel, container, 1);
      container.map(page);
    }
    assert.equal(container.mappings.length, 1, "one group has left, another is in it");
  }
  assert.equal(container.hasIommu, false);
  assert.deepEqual(container.mappings, []);
  assert.throws(() => container.map(page), {
    name: "DmaError",
    code: "EINVAL",
    message: /no group is in the container, so it has no IOMMU; its mappings are gone/,
    hint: { text: "Put a group into it first", remedy: null },
  });
  assert.equal(container.unmap(page.iova, page.size), 0n);
  assert.throws(() => container.info(), { name: "SysError", code: "EINVAL" });

  // A group that comes gives it an IOMMU again, in which nothing is mapped.
  using _again = joined(kernel, container, 1);
  assert.deepEqual(container.mappings, []);
  container.map(page);
  assert.deepEqual(container.mappings, [{ iova: page.iova, size: page.size }]);
  assert.equal(container.unmap(page.iova, page.size), page.size);
});

leakFreeTest("what was mapped before the last group left is not in the way of the next", () => {
  const kernel = new SimKernel("trapped");
  using memory = kernel.mmap(0x1000, {
    prot: PROT_READ | PROT_WRITE,
    flags: MAP_PRIVATE | MAP_ANONYMOUS,
  });
  const page = { iova: 0x10000n, size: 0x1000n, vaddr: memory.address, flags: FLAGS };
  using container = Type1Container.open(kernel);
  // Nobody looks in between.
  for (let round = 0; round < 2; round += 1) {
    using _group = joined(kernel, container);
    container.map(page);
  }
  {
    using _group = joined(kernel, container);
    assert.deepEqual(container.mappings, []);
  }
  container.know({ iova: 0x20000n, size: 0x1000n });
  assert.deepEqual(container.mappings, [], "without an IOMMU nothing can be mapped by anybody");
});

leakFreeTest("a borrowed container knows of it as its owner does", () => {
  const kernel = new SimKernel("trapped");
  using owner = Type1Container.open(kernel);
  using borrowed = Type1Container.borrow(kernel, owner.fd.number);
  {
    using _group = joined(kernel, owner);
    borrowed.know({ iova: 0x10000n, size: 0x1000n });
    assert.equal(borrowed.mappings.length, 1);
  }
  assert.deepEqual(borrowed.mappings, []);
  // It may put a group in as well, and its owner map memory there.
  using _group = joined(kernel, borrowed);
  assert.notEqual(owner.info().pgsizes, 0n);
  using memory = kernel.mmap(0x1000, {
    prot: PROT_READ | PROT_WRITE,
    flags: MAP_PRIVATE | MAP_ANONYMOUS,
  });
  owner.map({ iova: 0x10000n, size: 0x1000n, vaddr: memory.address, flags: FLAGS });
  assert.equal(owner.mappings.length, 1);
});
