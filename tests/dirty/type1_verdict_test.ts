import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { openFds } from "../../src/kernel/fd.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_MAP_DMA,
} from "../../src/uapi/mod.ts";
import { DirtySession } from "../../src/dirty/session.ts";
import { Type1Tracker } from "../../src/dirty/type1/type1_tracker.ts";
import { freePage } from "../../src/dirty/type1/_unused_page.ts";
import { Type1Container } from "../../src/vfio/dma/container.ts";
import { pages, range, withSession } from "./_session.ts";

describe("whether an IOMMU tracks", () => {
  it("is recognised if every page is dirty in two reads in a row", () => {
    withSession("iommu=all-dirty", { map: [range(0, 50), range(100, 14)] }, ({ session }) => {
      const { tracker, space: container } = session;
      tracker.start();
      const reading = tracker.read();
      assert.equal(reading.verdict, "does-not-track");
      assert.deepEqual([reading.dirtyPages, reading.pages, reading.pinnedPages], [64, 64, 64]);
      assert.equal(container.mappings.length, 2, "what was mapped to find that out is gone");
      assert.equal(tracker.read().verdict, "does-not-track");
    });
  });

  it("is not judged by fewer than 64 pages, nor by pages that could not be read", () => {
    withSession("iommu=all-dirty", { map: [range(0, 63)] }, ({ session: { tracker } }) => {
      tracker.start();
      assert.equal(tracker.read().verdict, "undecided");
      assert.equal(tracker.read({ twice: true }).verdict, "undecided");
    });
    withSession("fault=dirty-get:1:EIO", { map: [range(0, 64)] }, ({ session: { tracker } }) => {
      tracker.start();
      assert.equal(tracker.read().verdict, "undecided");
      assert.equal(tracker.read().verdict, "tracks");
    });
    withSession(
      "iommu=all-dirty&fault=dirty-get:2:EIO",
      { map: [range(0, 64)] },
      ({ session: { tracker } }) => {
        tracker.start();
        const reading = tracker.read();
        assert.equal(reading.verdict, "undecided");
        assert.equal(reading.lost.length, 1);
        assert.equal(tracker.read().verdict, "does-not-track");
      },
    );
  });

  it("is distinguished from a device that has written to every page", () => {
    withSession("", { map: [range(0, 64)] }, ({ session: { tracker }, write }) => {
      tracker.start();
      write(...Array.from({ length: 64 }, (_, page) => page));
      const reading = tracker.read();
      assert.equal(reading.verdict, "tracks");
      assert.deepEqual([reading.dirtyPages, reading.pinnedPages], [64, 0]);
    });
  });

  it("is distinguished from a device that holds every page pinned", () => {
    withSession("pin=64", { map: [range(0, 64)] }, ({ session: { tracker, space: container } }) => {
      tracker.start();
      const reading = tracker.read();
      assert.equal(reading.verdict, "tracks");
      assert.deepEqual([reading.dirtyPages, reading.pinnedPages], [64, 64]);
      assert.equal(container.mappings.length, 1);
    });
  });

  it("is known once a clean page was seen, however many are dirty later", () => {
    withSession("", { map: [range(0, 64)] }, ({ session: { tracker }, kernel }) => {
      tracker.start();
      assert.equal(tracker.read().verdict, "tracks");
      kernel.devices[0]!.dma.pin(0n, 64);
      const reading = tracker.read({ twice: true });
      assert.equal(reading.pinnedPages, 64);
      assert.equal(reading.verdict, "tracks");
    });
  });

  it("is believed of hardware if nothing can be mapped to find out", () => {
    withSession("iommu=all-dirty&memlock=256KiB", { map: [range(0, 64)] }, ({ session }) => {
      session.tracker.start();
      assert.equal(session.tracker.read().verdict, "does-not-track");
    });
  });

  it("looks for a page that is free", () => {
    const page = 4096n;
    const ranges = [{ start: 0n, end: 0x3fffn }, { start: 0x8000n, end: 0xafffn }];
    assert.equal(freePage(ranges, [], page), 0xa000n);
    assert.equal(freePage(ranges, [{ iova: 0xa000n, size: page }], page), 0x9000n);
    const upper = [{ iova: 0x8000n, size: 0x1000n }, { iova: 0x9000n, size: 0x2000n }];
    assert.equal(freePage(ranges, upper, page), 0x3000n);
    assert.equal(freePage(ranges, [{ iova: 0n, size: 0x4000n }, ...upper], page), null);
    assert.equal(freePage(null, [], page), (1n << 64n) - 2n * page);
  });
});

describe("a borrowed container", () => {
  /** An owner's session, and what another process makes of its fds. */
  function withBorrowed(
    spec: string,
    use: (owner: DirtySession, borrowed: DirtySession, kernel: SimKernel) => void,
  ): void {
    const kernel = new SimKernel(`trapped?size=4KiB${spec}`);
    {
      const maps = [range(0, 64), range(100, 10)];
      using owner = DirtySession.open(kernel.devices[0]!.path, { kernel, maps });
      const { device, group, container } = owner.fds;
      using borrowed = DirtySession.open(`fd:${device}`, {
        kernel,
        groupFd: group!,
        containerFd: container!,
        mappings: maps,
      });
      use(owner, borrowed, kernel);
    }
    assert.deepEqual(kernel.openObjects, []);
    assert.deepEqual(openFds(), []);
  }

  it("is read by the mappings that the caller names", () => {
    withBorrowed("", (_owner, { tracker, mappings, memory, mapped }, kernel) => {
      assert.deepEqual(mappings, [range(0, 64), range(100, 10)]);
      assert.equal(memory, null);
      assert.deepEqual(mapped, []);
      tracker.start();
      kernel.devices[0]!.dma.write(pages(100), new Uint8Array(1));
      assert.deepEqual([...tracker.read().runs()], [range(100, 1)]);
    });
  });

  it("goes on tracking for the owner that started it", () => {
    withBorrowed("", (owner, borrowed, kernel) => {
      owner.tracker.start();
      kernel.devices[0]!.dma.write(0n, new Uint8Array(1));
      borrowed.tracker.start();
      borrowed.tracker.stop();
      assert.equal(owner.tracker.read().dirtyPages, 1);
      borrowed.tracker.start();
      borrowed.close();
      assert.equal(owner.tracker.read().dirtyPages, 0);
    });
  });

  it("is stopped by the side that started it", () => {
    withBorrowed("", (owner, borrowed) => {
      borrowed.tracker.start();
      borrowed.tracker.stop();
      const bitmap = { pgsize: 4096n, size: 8n, data: 4096n };
      assert.throws(
        () =>
          owner.device.container!.dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, {
            ...range(0, 64),
            bitmap,
          }),
        { code: "EINVAL" },
      );
    });
  });

  it("is believed not to track if all is dirty: nothing is mapped in it to find out", () => {
    const calls: number[] = [];
    const kernel = new SimKernel("trapped?size=4KiB&iommu=all-dirty");
    const ioctl = kernel.ioctl.bind(kernel);
    using owner = DirtySession.open(kernel.devices[0]!.path, { kernel, maps: [range(0, 64)] });
    kernel.ioctl = (fd, request, arg) => {
      calls.push(request);
      return ioctl(fd, request, arg);
    };
    const { device, container } = owner.fds;
    using borrowed = DirtySession.open(`fd:${device}`, {
      kernel,
      containerFd: container!,
      mappings: [range(0, 64)],
    });
    borrowed.tracker.start();
    assert.equal(borrowed.tracker.read().verdict, "does-not-track");
    assert.ok(calls.includes(VFIO_IOMMU_DIRTY_PAGES));
    assert.ok(!calls.includes(VFIO_IOMMU_MAP_DMA));
  });

  it("of the TYPE1 model says that it does not track", () => {
    const kernel = new SimKernel("trapped?size=4KiB");
    const container = kernel.open("/dev/vfio/vfio", 2);
    const group = kernel.open("/dev/vfio/0", 2);
    const argument = new Uint8Array(4);
    new DataView(argument.buffer).setInt32(0, container, true);
    kernel.ioctl(group, 0x3b68, argument);
    kernel.ioctl(container, 0x3b66, 1);
    const tracker = new Type1Tracker(Type1Container.borrow(kernel, container));
    assert.throws(() => tracker.start(), (error: Error & { reasons?: { code: string }[] }) => {
      assert.equal(error.reasons?.[0]?.code, "not-type1v2");
      return true;
    });
    assert.equal(tracker.active, false);
    assert.equal(VFIO_IOMMU_DIRTY_PAGES_FLAG_START, 1);
  });

  it("must be named", () => {
    const kernel = new SimKernel("trapped?size=4KiB");
    {
      using owner = DirtySession.open(kernel.devices[0]!.path, { kernel });
      assert.throws(
        () => DirtySession.open(`fd:${owner.fds.device}`, { kernel }),
        (error: Error & { reasons?: { code: string; hint: string }[] }) => {
          assert.equal(error.reasons?.[0]?.code, "no-container");
          assert.match(error.reasons[0].hint, /fd of its container/);
          return true;
        },
      );
    }
    assert.deepEqual(kernel.openObjects, []);
  });
});
