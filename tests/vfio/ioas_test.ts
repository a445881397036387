import assert from "node:assert/strict";
import { SimKernel } from "../../src/sim/mod.ts";
import { DmaError } from "../../src/vfio/dma/dma_error.ts";
import { DmaMemory } from "../../src/vfio/dma/dma_memory.ts";
import { Ioas } from "../../src/vfio/dma/ioas.ts";
import { Iommufd } from "../../src/vfio/dma/iommufd.ts";
import { parseDeviceName } from "../../src/vfio/open/device_name.ts";
import { openVfioDevice } from "../../src/vfio/open/open.ts";
import { leakFreeTest } from "./_leak_free.ts";

const PAGE = 4096n;

interface Opened {
  readonly kernel: SimKernel;
  readonly ioas: Ioas;
  /** Maps pages of memory, by default to be read and written. */
  map(first: bigint, count: bigint, flags?: number): void;
}

function withIoas(options: string, use: (opened: Opened) => void): void {
  const kernel = new SimKernel(`trapped?cdev=1${options}`);
  {
    using memory = DmaMemory.allocate(kernel, 1 << 20);
    using device = openVfioDevice(kernel, parseDeviceName(kernel.devices[0]!.path));
    const ioas = device.ioas!;
    use({
      kernel,
      ioas,
      map: (first, count, flags = 3) =>
        ioas.map({ iova: first * PAGE, size: count * PAGE, vaddr: memory.address, flags }),
    });
  }
  assert.deepEqual(kernel.openObjects, []);
}

function refusal(run: () => void): DmaError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof DmaError, String(error));
    return error;
  }
  assert.fail("it was not refused");
}

leakFreeTest("what can be mapped is what the devices ask for", () => {
  withIoas("", ({ ioas }) => {
    assert.deepEqual(ioas.info(), {
      pgsizes: 0xffff_ffff_ffff_f000n,
      iovaRanges: [{ start: 0n, end: (1n << 64n) - 1n }],
    });
    const free = Ioas.allocate(ioas.iommufd);
    assert.equal(free.info().pgsizes, (1n << 64n) - 1n);
    free.close();
    free.close();
  });
  withIoas("&iommu=all-dirty", ({ ioas }) => {
    assert.equal(ioas.info().iovaRanges?.length, 2);
  });
});

leakFreeTest("what was mapped is known until it is taken back", () => {
  withIoas("", ({ ioas, map, kernel }) => {
    map(8n, 1n);
    map(16n, 2n);
    assert.deepEqual(ioas.mappings, [
      { iova: 8n * PAGE, size: PAGE },
      { iova: 16n * PAGE, size: 2n * PAGE },
    ]);
    kernel.devices[0]!.dma.write(17n * PAGE, new Uint8Array([7]));
    assert.equal(ioas.unmap(0n, 100n * PAGE), 3n * PAGE);
    assert.deepEqual(ioas.mappings, []);
    assert.equal(ioas.unmap(0n, 100n * PAGE), 0n);
    assert.throws(
      () => kernel.devices[0]!.dma.write(17n * PAGE, new Uint8Array([7])),
      { code: "ENOENT" },
    );
  });
});

leakFreeTest("a range that cuts a mapping changes nothing, whatever lies before it", () => {
  withIoas("", ({ ioas, map }) => {
    map(0n, 10n);
    map(10n, 10n);
    const error = refusal(() => ioas.unmap(0n, 15n * PAGE));
    assert.equal(error.code, "ENOENT");
    assert.equal(
      error.message,
      "Cannot unmap 0x0-0xefff: the mapping 0xa000-0x13fff would be cut, and a mapping is only " +
        "unmapped whole (ENOENT)",
    );
    // Linux would have taken the first one back.
    assert.equal(refusal(() => map(0n, 10n)).code, "EEXIST");
    assert.equal(ioas.mappings.length, 2);
  });
});

leakFreeTest("a refused mapping says why", () => {
  withIoas("&iommu=all-dirty&memlock=64KiB", ({ ioas, map }) => {
    map(0n, 2n);
    const text = (run: () => void): string => refusal(run).message;
    assert.match(text(() => map(1n, 2n)), /overlaps the mapping 0x0-0x1fff \(EEXIST\)$/);
    assert.match(text(() => map(100n, 1n, 0)), /may neither read nor write it \(EINVAL\)$/);
    assert.match(
      text(() => map(0xfee00n, 1n)),
      /: 0xfee00000-0xfeefffff is a hole \(the MSI window, .*\) .*: it maps 0x0-0xfedfffff, 0xfef/,
    );
    const limit = refusal(() => map(100n, 20n));
    assert.equal(limit.code, "ENOMEM");
    assert.match(limit.message, /may lock 65536 bytes \(RLIMIT_MEMLOCK\); 8192 are mapped/);
    assert.match(limit.hint!.text, /ulimit -l/);
    const vaddr = 0x10000n;
    const at = (iova: bigint, size: bigint): () => void => () =>
      ioas.map({ iova, size, vaddr, flags: 3 });
    assert.match(text(at(100n * PAGE, PAGE)), /is not mapped in this process.*\(EFAULT\)$/);
    assert.match(text(at(100n * PAGE + 1n, PAGE)), /not in whole pages of 4096 bytes \(EINVAL\)$/);
    assert.match(text(at((1n << 64n) - PAGE, 2n * PAGE)), /beyond 2\^64 \(EOVERFLOW\)$/);
    assert.throws(() => map(0n, 1n, 4), /an IOAS knows no flags 0x4/);
    assert.match(text(() => void ioas.unmap(0n, 0n)), /it has 0 bytes \(EINVAL\)$/);
  });
});

leakFreeTest("a borrowed IOAS takes a list of what is mapped, and is not destroyed", () => {
  withIoas("", ({ ioas, map, kernel }) => {
    map(0n, 4n);
    const iommufd = Iommufd.borrow(kernel, ioas.iommufd.fd.number);
    const borrowed = Ioas.borrow(iommufd, ioas.id);
    assert.match(
      refusal(() => borrowed.unmap(1n * PAGE, PAGE)).message,
      /may cut a mapping that somebody else made in this IOAS \(ENOENT\)$/,
    );
    borrowed.know({ iova: 0n, size: 4n * PAGE });
    assert.throws(() => borrowed.know({ iova: PAGE, size: PAGE }), /overlaps 0x0-0x3fff/);
    assert.equal(borrowed.unmap(0n, 4n * PAGE), 4n * PAGE);
    borrowed.close();
    ioas.forget(0n);
    map(0n, 4n);
    const gone = Ioas.borrow(iommufd, 77);
    assert.match(
      refusal(() => gone.map({ iova: 0n, size: PAGE, vaddr: 4096n, flags: 3 })).message,
      /the IOAS is no longer there \(ENOENT\)$/,
    );
    assert.throws(() => gone.info(), { code: "ENOENT" });
  });
});

leakFreeTest("an IOAS in use by another process stays with its iommufd", () => {
  const kernel = new SimKernel("trapped?cdev=1");
  using iommufd = Iommufd.open(kernel);
  using device = openVfioDevice(kernel, parseDeviceName(kernel.devices[0]!.path));
  device.ioas!.close();
  assert.throws(() => device.ioas!.iommufd.destroy(77), { code: "ENOENT" });
  const ioas = Ioas.allocate(iommufd);
  ioas.close();
  assert.throws(() => iommufd.destroy(ioas.id), { code: "ENOENT" });
});
