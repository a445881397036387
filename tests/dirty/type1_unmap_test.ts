import { describe, it } from "node:test";
import assert from "node:assert/strict";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import { VFIO_IOMMU_UNMAP_DMA } from "../../src/uapi/mod.ts";
import { dirtyPages, intercept, pages, range, withSession } from "./_session.ts";

const MAP = [range(0, 10), range(10, 10), range(20, 44), range(100, 64)];

describe("unmapping with dirty pages", () => {
  it("gives the last dirty pages, and the bytes that went", () => {
    withSession("pin=1", { map: MAP }, ({ session, write }) => {
      const { tracker, mappings: _, space: container } = session;
      tracker.start();
      write(15, 63, 100, 163);
      const { reading, unmapped, error } = tracker.unmapWithDirty(0n, pages(64));
      assert.equal(error, null);
      assert.equal(unmapped, pages(64));
      assert.deepEqual(dirtyPages(reading), [0, 15, 63]);
      assert.deepEqual(container.mappings.map(({ iova }) => iova), [pages(100)]);
      assert.deepEqual(dirtyPages(tracker.read()), [100, 163]);
      const rest = tracker.unmapWithDirty(pages(90), pages(100));
      assert.equal(rest.unmapped, pages(64));
      assert.deepEqual(container.mappings, []);
      assert.deepEqual(tracker.read().ranges, []);
    });
  });

  it("makes a call for each mapping: Linux 5.10 mixes up the bits of several", () => {
    let calls = 0;
    const over = (kernel: Kernel) =>
      intercept(kernel, (next, fd, request, arg) => {
        if (request === VFIO_IOMMU_UNMAP_DMA) calls++;
        return next(fd, request, arg);
      });
    withSession("", { map: MAP, over }, ({ session: { tracker } }) => {
      tracker.start();
      tracker.unmapWithDirty(0n, pages(64));
      assert.equal(calls, 3);
    });
  });

  it("finds nothing if nothing is mapped", () => {
    withSession("", { map: MAP }, ({ session: { tracker } }) => {
      tracker.start();
      const { reading, unmapped, error } = tracker.unmapWithDirty(pages(1000), pages(10));
      assert.deepEqual([reading.ranges, unmapped, error], [[], 0n, null]);
    });
  });

  it("refuses what is no range of whole mappings, and nothing is unmapped", () => {
    withSession("", { map: MAP }, ({ session: { tracker, space: container } }) => {
      tracker.start();
      for (
        const [first, count] of [[0, 5], [5, 5], [0, 15], [100, 63], [0, 0]] as const
      ) {
        assert.throws(() => tracker.unmapWithDirty(pages(first), pages(count)), {
          name: "DirtyRangeError",
        });
      }
      assert.throws(() => tracker.unmapWithDirty(1n, pages(10)), /whole pages/);
      assert.equal(container.mappings.length, 4);
    });
  });

  it("counts all as dirty if it fails in the middle, and knows what is still mapped", () => {
    withSession("fault=unmap:2:EFAULT", { map: MAP }, ({ session, write }) => {
      const { tracker, space: container } = session;
      tracker.start();
      write(3, 100);
      const { reading, unmapped, error } = tracker.unmapWithDirty(0n, pages(64));
      assert.equal(unmapped, pages(10));
      assert.match(error!.message, /^Cannot unmap 0xa000-0x13fff: .* \(EFAULT\)/);
      assert.equal(reading.dirtyPages, 64, "all that was to be unmapped");
      assert.equal(reading.lost.length, 3);
      const left = [pages(10), pages(20), pages(100)];
      assert.deepEqual(container.mappings.map(({ iova }) => iova), left);
      assert.equal(tracker.unmapWithDirty(0n, pages(64)).unmapped, pages(54));
      assert.deepEqual(dirtyPages(tracker.read()), [100]);
    });
  });

  it("strikes off a mapping that is gone though the call failed", () => {
    const over = (kernel: Kernel) =>
      intercept(kernel, (next, fd, request, arg) => {
        next(fd, request, arg);
        if (request === VFIO_IOMMU_UNMAP_DMA) throw new SysError("ioctl", ERRNO.EIO);
        return 0;
      });
    withSession("", { map: MAP, over: (kernel) => armed(over(kernel), kernel) }, ({ session }) => {
      const { tracker, space: container } = session;
      tracker.start();
      arm = true;
      const { reading, unmapped, error } = tracker.unmapWithDirty(0n, pages(10));
      arm = false;
      assert.deepEqual([reading.dirtyPages, unmapped], [10, 0n]);
      assert.match(error!.message, /EIO/);
      assert.deepEqual(container.mappings.map(({ iova }) => iova), MAP.slice(1).map((m) => m.iova));
    });
  });

  it("keeps a mapping that ends at 2^64, which Linux 6.1 does not take back", () => {
    const last = { iova: (1n << 64n) - pages(2), size: pages(2) };
    withSession("", { map: MAP }, ({ session: { tracker, space: container, memory } }) => {
      container.map({ ...last, vaddr: memory!.address, flags: 3 });
      tracker.start();
      const { reading, unmapped, error } = tracker.unmapWithDirty(last.iova, last.size);
      assert.deepEqual([reading.dirtyPages, unmapped], [2, 0n]);
      assert.match(error!.message, /the kernel unmapped 0 of its 8192 bytes/);
      assert.equal(container.mappings.at(-1)!.iova, last.iova);
    });
  });

  it("says that a mapping was not there any more, and counts it as dirty", () => {
    withSession("", { map: MAP }, ({ session: { tracker, space: container } }) => {
      tracker.start();
      container.unmap(0n, pages(10));
      container.know(range(0, 10));
      const { reading, unmapped, error } = tracker.unmapWithDirty(0n, pages(20));
      assert.equal(unmapped, 0n);
      assert.match(error!.message, /the kernel unmapped 0 of its 40960 bytes/);
      assert.equal(reading.dirtyPages, 20);
      assert.deepEqual(container.mappings.map(({ iova }) => iova), MAP.slice(1).map((m) => m.iova));
    });
  });
});

let arm = false;

/** One kernel while armed, and another while not. */
function armed(whenArmed: Kernel, otherwise: Kernel): Kernel {
  return intercept(
    otherwise,
    (next, fd, request, arg) => arm ? whenArmed.ioctl(fd, request, arg) : next(fd, request, arg),
  );
}
