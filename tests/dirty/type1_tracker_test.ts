import { describe, it } from "node:test";
import assert from "node:assert/strict";
import {
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
} from "../../src/uapi/mod.ts";
import { dirtyPages, intercept, pages, pinnedPages, range, withSession } from "./_session.ts";

describe("a type1 tracker", () => {
  it("reports the pages that were written, once", () => {
    withSession(
      "",
      { map: [range(0, 100), range(256, 128)] },
      ({ session: { tracker }, write }) => {
        assert.equal(tracker.pgsize, 4096);
        tracker.start();
        assert.deepEqual(dirtyPages(tracker.read()), []);
        write(3, 99, 256, 383);
        const reading = tracker.read();
        assert.deepEqual(dirtyPages(reading), [3, 99, 256, 383]);
        assert.deepEqual([reading.dirtyPages, reading.pages], [4, 228]);
        assert.equal(reading.pinnedPages, null);
        assert.equal(reading.verdict, "tracks");
        assert.deepEqual(reading.lost, []);
        assert.deepEqual([...reading.runs()], [
          range(3, 1),
          range(99, 1),
          range(256, 1),
          range(383, 1),
        ]);
        assert.deepEqual(dirtyPages(tracker.read()), []);
      },
    );
  });

  it("reports a page once although the kernel would go on with phantoms of it", () => {
    const map = [range(600, 10), range(610, 10), range(620, 44)];
    withSession("", { map }, ({ session: { tracker }, write }) => {
      tracker.start();
      write(615);
      assert.deepEqual(dirtyPages(tracker.read()), [615]);
      for (let round = 0; round < 4; round++) assert.deepEqual(dirtyPages(tracker.read()), []);
      write(615, 619, 620);
      assert.deepEqual(dirtyPages(tracker.read()), [615, 619, 620]);
    });
  });

  it("masks phantoms that another reader left behind the last page", () => {
    const map = [range(600, 10), range(610, 10), range(620, 44)];
    withSession("", { map }, ({ session: { tracker, device }, kernel, write }) => {
      tracker.start();
      write(615);
      // One call for all three, as a careless program would make it.
      using memory = kernel.mmap(4096, { prot: 3, flags: 0x22 });
      const bitmap = { pgsize: 4096n, size: 8n, data: memory.address };
      for (let call = 0; call < 4; call++) {
        const get = { ...range(600, 64), bitmap };
        device.container!.dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, get);
      }
      assert.deepEqual(dirtyPages(tracker.read()), []);
    });
  });

  it("distinguishes pinned pages from written ones by reading twice", () => {
    withSession("pin=3", { map: [range(0, 64), range(64, 64)] }, ({ session, write }) => {
      const { tracker } = session;
      tracker.start();
      write(70);
      const reading = tracker.read({ twice: true });
      assert.deepEqual(dirtyPages(reading), [0, 1, 2, 70]);
      assert.deepEqual(pinnedPages(reading), [0, 1, 2]);
      assert.equal(reading.pinnedPages, 3);
      const again = tracker.read({ twice: true });
      assert.deepEqual(dirtyPages(again), [0, 1, 2]);
      assert.deepEqual(pinnedPages(again), [0, 1, 2]);
    });
  });

  it("loses nothing that is written between the two reads", () => {
    let calls = 0;
    let between = (): void => {};
    const over = (kernel: Parameters<typeof intercept>[0]) =>
      intercept(kernel, (next, fd, request, arg) => {
        const result = next(fd, request, arg);
        if (request === VFIO_IOMMU_DIRTY_PAGES && ++calls === 2) between();
        return result;
      });
    withSession("", { map: [range(0, 64)], over }, ({ session: { tracker }, write }) => {
      between = () => write(9);
      tracker.start();
      write(5);
      const reading = tracker.read({ twice: true });
      assert.deepEqual(dirtyPages(reading), [5, 9]);
      assert.deepEqual(pinnedPages(reading), []);
    });
  });

  it("reads the ranges that are asked for, and leaves the others dirty", () => {
    const map = [range(0, 10), range(10, 10), range(100, 10)];
    withSession("", { map }, ({ session: { tracker }, write }) => {
      tracker.start();
      write(1, 11, 101);
      assert.deepEqual(dirtyPages(tracker.read({ ranges: [range(100, 10)] })), [101]);
      assert.deepEqual(dirtyPages(tracker.read({ ranges: [range(0, 20)] })), [1, 11]);
      assert.deepEqual(tracker.read({ ranges: [range(30, 40)] }).ranges, []);
      write(2);
      assert.deepEqual(dirtyPages(tracker.read()), [2]);
    });
  });

  it("takes in what is mapped while it tracks", () => {
    withSession("", { map: [range(0, 10)] }, ({ session, write }) => {
      const { tracker, space: container, memory } = session;
      tracker.start();
      container.map({ ...range(20, 10), vaddr: memory!.address, flags: 3 });
      write(25);
      assert.deepEqual(dirtyPages(tracker.read()), [25]);
      container.unmap(pages(20), pages(10));
      assert.equal(tracker.read().ranges.length, 1);
    });
  });

  it("knows whether it has started", () => {
    withSession("", { map: [range(0, 10)] }, ({ session: { tracker }, write }) => {
      assert.equal(tracker.active, false);
      assert.throws(
        () => tracker.read(),
        /^TypeError: Cannot read dirty pages: tracking has not started/,
      );
      assert.throws(() => tracker.unmapWithDirty(0n, pages(10)), /tracking has not started/);
      tracker.stop();
      tracker.start();
      write(1);
      tracker.start();
      assert.deepEqual(dirtyPages(tracker.read()), [1], "starting again clears nothing");
      tracker.stop();
      tracker.stop();
      assert.equal(tracker.active, false);
      write(2);
      tracker.start();
      assert.deepEqual(dirtyPages(tracker.read()), [], "starting anew begins clean");
    });
  });

  it("stops when it is closed", () => {
    withSession("", { map: [range(0, 10)] }, ({ session: { tracker, device } }) => {
      tracker.start();
      tracker.close();
      const get = { ...range(0, 10), bitmap: { pgsize: 4096n, size: 8n, data: 4096n } };
      assert.throws(
        () => device.container!.dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, get),
        { code: "EINVAL" },
      );
      tracker.close();
    });
  });

  it("asks with one flag at a time, once for each mapping", () => {
    const asked: number[] = [];
    const over = (kernel: Parameters<typeof intercept>[0]) =>
      intercept(kernel, (next, fd, request, arg) => {
        if (request === VFIO_IOMMU_DIRTY_PAGES && arg instanceof Uint8Array) asked.push(arg[4]!);
        return next(fd, request, arg);
      });
    const map = [range(0, 10), range(10, 10), range(100, 10)];
    withSession("", { map, over }, ({ session: { tracker } }) => {
      tracker.start();
      tracker.read();
      tracker.stop();
    });
    assert.deepEqual(asked, [1, 4, 4, 4, 2]);
  });
});

describe("a type1 tracker that meets a failure", () => {
  it("of one mapping: all of it is dirty, and it says why", () => {
    const map = [range(0, 10), range(20, 10), range(40, 10)];
    withSession("fault=dirty-get:2:EFAULT", { map }, ({ session: { tracker }, write }) => {
      tracker.start();
      write(3, 23, 43);
      const reading = tracker.read();
      assert.deepEqual(reading.ranges.map(({ bitmap }) => bitmap.count()), [1, 10, 1]);
      assert.equal(reading.lost.length, 1);
      assert.equal(reading.lost[0]!.bitmap.iova, pages(20));
      assert.match(
        reading.lost[0]!.lost!.message,
        /^Cannot read the dirty pages of 0x14000-0x1dfff: the kernel refuses \(EFAULT\)/,
      );
      assert.equal(reading.verdict, "undecided");
      assert.deepEqual(dirtyPages(tracker.read()), [23]);
    });
  });

  it("of the second read of two", () => {
    withSession("fault=dirty-get:2:EFAULT", { map: [range(0, 10)] }, ({ session, write }) => {
      session.tracker.start();
      write(3);
      const reading = session.tracker.read({ twice: true });
      assert.equal(reading.dirtyPages, 10);
      assert.equal(reading.lost.length, 1);
      assert.equal(reading.pinnedPages, null);
    });
  });

  it("of the start: it has not started", () => {
    withSession("fault=dirty-start:1:ENOMEM", { map: [range(0, 10)] }, ({ session }) => {
      const { tracker } = session;
      assert.throws(() => tracker.start(), { name: "SysError", code: "ENOMEM" });
      assert.equal(tracker.active, false);
      tracker.start();
      assert.deepEqual(dirtyPages(tracker.read()), []);
    });
  });

  it("of a kernel that writes behind the bitmap", () => {
    const over = (kernel: Parameters<typeof intercept>[0]) =>
      intercept(kernel, (next, fd, request, arg) => {
        // It says 128 pages where 64 were asked about: 16 bytes are written.
        const get = request === VFIO_IOMMU_DIRTY_PAGES && arg instanceof Uint8Array &&
          arg[4] === VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
        if (!get) return next(fd, request, arg);
        const larger = arg.slice();
        const view = new DataView(larger.buffer);
        view.setBigUint64(16, pages(128), true);
        view.setBigUint64(32, 16n, true);
        return next(fd, request, larger);
      });
    const map = [range(0, 64), range(64, 64)];
    withSession("", { map, over }, ({ session: { tracker } }) => {
      tracker.start();
      const { lost } = tracker.read({ ranges: [range(0, 64)] });
      assert.match(lost[0]!.lost!.message, /the kernel wrote behind its 8 bytes/);
    });
  });

  it("of a mapping that the caller named and that is not there", () => {
    withSession("", { map: [range(0, 64)] }, ({ session: { tracker, space: container } }) => {
      container.know(range(1000, 128));
      tracker.start();
      const reading = tracker.read();
      assert.deepEqual(reading.ranges.map(({ bitmap }) => bitmap.count()), [0, 128]);
      assert.match(
        reading.lost[0]!.lost!.message,
        /^Cannot read the dirty pages of 0x3e8000-0x467fff: nothing is mapped there/,
      );
    });
  });

  it("of a range that ends at 2^64, which Linux 6.1 refuses", () => {
    const last = { iova: (1n << 64n) - pages(64), size: pages(64) };
    withSession("", { map: [range(0, 64)] }, ({ session }) => {
      const { tracker, space: container, memory } = session;
      container.map({ ...last, vaddr: memory!.address, flags: 3 });
      tracker.start();
      const { lost, ranges } = tracker.read();
      assert.deepEqual(ranges.map(({ bitmap }) => bitmap.count()), [0, 64]);
      assert.match(
        lost[0]!.lost!.message,
        /ends at 2\^64 \(Linux takes it from 6.19 on\) \(EINVAL\)/,
      );
    });
  });

  it("of nothing, if the kernel takes a range that ends at 2^64", () => {
    const first = (1n << 64n) - pages(64);
    // A kernel that takes it: it is asked about the same mapping at 2^63 instead.
    const lower = (arg: Uint8Array<ArrayBuffer>, at: number): Uint8Array<ArrayBuffer> => {
      const moved = arg.slice();
      const view = new DataView(moved.buffer);
      if (view.getBigUint64(at, true) === first) view.setBigUint64(at, 1n << 63n, true);
      return moved;
    };
    const over = (kernel: Parameters<typeof intercept>[0]) =>
      intercept(
        kernel,
        (next, fd, request, arg) =>
          request === VFIO_IOMMU_DIRTY_PAGES && arg instanceof Uint8Array && arg.length > 8
            ? next(fd, request, lower(arg, 8))
            : next(fd, request, arg),
      );
    withSession("", { map: [range(0, 64)], over }, ({ session, kernel }) => {
      const { tracker, space: container, memory } = session;
      container.map({ iova: 1n << 63n, size: pages(64), vaddr: memory!.address, flags: 3 });
      container.forget(1n << 63n);
      container.know({ iova: first, size: pages(64) });
      tracker.start();
      kernel.devices[0]!.dma.write((1n << 63n) + pages(63), new Uint8Array([1]));
      const reading = tracker.read();
      assert.deepEqual([...reading.runs()], [{ iova: (1n << 64n) - 4096n, size: 4096n }]);
      assert.deepEqual(reading.lost, []);
    });
  });
});

describe("a type1 tracker asked for what cannot be", () => {
  /** How many calls about dirty pages reached the kernel. */
  function counting(): {
    over: (kernel: Parameters<typeof intercept>[0]) => ReturnType<typeof intercept>;
    calls: () => number;
  } {
    let calls = 0;
    return {
      calls: () => calls,
      over: (kernel) =>
        intercept(kernel, (next, fd, request, arg) => {
          if (request === VFIO_IOMMU_DIRTY_PAGES) calls++;
          return next(fd, request, arg);
        }),
    };
  }

  it("refuses ranges that are none, before the kernel is asked", () => {
    const { over, calls } = counting();
    withSession("", { map: [range(0, 100), range(100, 64)], over }, ({ session: { tracker } }) => {
      tracker.start();
      const before = calls();
      for (
        const [ranges, text] of [
          [[{ iova: 0n, size: 0n }], /it is empty/],
          [[{ iova: 1n, size: 4096n }], /not in whole pages of 4096 bytes/],
          [[{ iova: 0n, size: 100n }], /not in whole pages of 4096 bytes/],
          [[{ iova: -4096n, size: 4096n }], /beyond 2\^64/],
          [[{ iova: (1n << 64n) - 4096n, size: 8192n }], /beyond 2\^64/],
          [[range(0, 50)], /mapping 0x0-0x63fff would be cut/],
          [[range(50, 50)], /mapping 0x0-0x63fff would be cut/],
          [[range(0, 120)], /mapping 0x64000-0xa3fff would be cut/],
          [[range(0, 100), range(0, 100)], /0x0-0x63fff: it overlaps 0x0-0x63fff/],
          [[range(0, 164), range(100, 64)], /overlaps/],
        ] as const
      ) {
        assert.throws(() => tracker.read({ ranges }), (error: Error) => {
          assert.equal(error.name, "DirtyRangeError");
          assert.match(error.message, text);
          return true;
        });
      }
      assert.equal(calls(), before);
    });
  });

  it("refuses a mapping that no bitmap holds, before the kernel is asked", () => {
    const { over, calls } = counting();
    withSession("", { map: [range(0, 1)], over }, ({ session: { tracker, space: container } }) => {
      const huge = { iova: 1n << 44n, size: 1n << 43n };
      container.map({ ...huge, vaddr: 1n << 20n, flags: 3 });
      const refused = {
        name: "DirtyRangeError",
        message: /it has 2147483648 pages.*map it in parts/,
      };
      assert.throws(() => tracker.start(), refused);
      assert.equal(calls(), 0);
      container.unmap(huge.iova, huge.size);
      tracker.start();
      // The kernel undoes such a mapping while it tracks; somebody else may have said so.
      container.know(huge);
      const before = calls();
      assert.throws(() => tracker.read(), refused);
      assert.throws(() => tracker.unmapWithDirty(huge.iova, huge.size), refused);
      assert.equal(calls(), before);
    });
  });

  it("says that the container does not track", () => {
    for (
      const [fault, code] of [
        ["no-dirty-capability", "no-dirty-capability"],
        ["draft-dirty-flag", "draft-dirty-tracking"],
      ] as const
    ) {
      assert.throws(
        () => withSession(`fault=${fault}`, { map: [range(0, 1)] }, () => {}),
        (error: Error & { reasons?: { code: string }[] }) => {
          assert.equal(error.name, "UnsupportedError");
          assert.equal(error.reasons?.[0]?.code, code);
          return true;
        },
      );
    }
  });

  it("says that the kernel does not know the call", () => {
    const over = (kernel: Parameters<typeof intercept>[0]) =>
      intercept(kernel, (next, fd, request, arg) =>
        // Any request that no container knows.
        next(fd, request === VFIO_IOMMU_DIRTY_PAGES ? 0x3bff : request, arg));
    withSession("", { map: [range(0, 1)], over }, ({ session: { tracker } }) => {
      assert.throws(() => tracker.start(), { name: "UnsupportedError" });
      assert.equal(tracker.active, false);
    });
    assert.equal(VFIO_IOMMU_DIRTY_PAGES_FLAG_START, 1);
  });
});
