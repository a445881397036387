import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { SysError } from "../../src/kernel/sys_error.ts";
import {
  IOMMU_GET_HW_INFO,
  IOMMU_HWPT_ALLOC,
  IOMMU_HWPT_GET_DIRTY_BITMAP,
  IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
  IOMMU_IOAS_UNMAP,
  iommuHwptGetDirtyBitmap,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
} from "../../src/uapi/mod.ts";
import { DirtySession } from "../../src/dirty/session.ts";
import {
  dirtyPages,
  intercept,
  pages,
  range,
  type SimSession,
  type SimSessionOptions,
  withSession,
} from "./_session.ts";

const TRACKS = "cdev=1&iommu=dirty-tracking";
const MAP = [range(16, 100), range(116, 64), range(512, 8)];

function withTracker(
  use: (sim: SimSession) => void,
  over?: SimSessionOptions["over"],
): void {
  withSession(
    TRACKS,
    { map: MAP, tracker: "iommufd", ...(over === undefined ? {} : { over }) },
    use,
  );
}

/** A kernel in which a request fails. */
function refusing(
  request: number,
  code: "EIO" | "ENOTTY",
  from = 1,
): NonNullable<SimSessionOptions["over"]> {
  let calls = 0;
  return (kernel) =>
    intercept(kernel, (next, fd, number, arg) => {
      if (number === request && (calls += 1) >= from) {
        throw new SysError("ioctl", { EIO: 5, ENOTTY: 25 }[code]);
      }
      return next(fd, number, arg);
    });
}

describe("a page table of an iommufd as tracker", () => {
  it("says which pages were written since the last read, in each mapping", () => {
    withTracker(({ session: { tracker, device }, write }) => {
      assert.deepEqual([tracker.name, device.via, tracker.pgsize], ["iommufd", "cdev", 4096]);
      write(20);
      tracker.start();
      assert.deepEqual(dirtyPages(tracker.read()), []);
      write(16, 115, 116, 179, 519);
      const reading = tracker.read({ twice: true });
      assert.deepEqual(dirtyPages(reading), [16, 115, 116, 179, 519]);
      assert.deepEqual([reading.verdict, reading.pinnedPages], ["tracks", null]);
      assert.deepEqual(dirtyPages(tracker.read()), []);
    });
  });

  it("reads the ranges that are asked for alone", () => {
    withTracker(({ session: { tracker }, write }) => {
      tracker.start();
      write(17, 514);
      assert.deepEqual(dirtyPages(tracker.read({ ranges: [range(512, 8)] })), [514]);
      assert.deepEqual(dirtyPages(tracker.read()), [17]);
      assert.throws(() => tracker.read({ ranges: [range(16, 8)] }), /would be cut/);
    });
  });

  it("asks about each mapping alone, as Linux leaves out what is behind a hole", () => {
    const asked: bigint[] = [];
    withTracker(({ session: { tracker } }) => {
      tracker.start();
      tracker.read();
      assert.deepEqual(asked, MAP.map(({ iova }) => iova));
    }, (kernel) =>
      intercept(kernel, (next, fd, request, arg) => {
        if (request === IOMMU_HWPT_GET_DIRTY_BITMAP) {
          asked.push(iommuHwptGetDirtyBitmap.unpack(arg as Uint8Array).iova);
        }
        return next(fd, request, arg);
      }));
  });

  it("tracks what is mapped after the start", () => {
    withTracker(({ session: { tracker, space, memory }, write }) => {
      tracker.start();
      const vaddr = memory!.mapping.address;
      space.map({ ...range(1024, 4), vaddr, flags: 3 });
      write(1026);
      assert.deepEqual(dirtyPages(tracker.read()), [1026]);
      space.unmap(pages(1024), pages(4));
    });
  });

  it("forgets at its stop, and has all pages clean at the next start", () => {
    withTracker(({ session: { tracker }, write }) => {
      assert.throws(() => tracker.read(), /tracking has not started/);
      tracker.start();
      tracker.start();
      write(20);
      tracker.stop();
      tracker.stop();
      assert.equal(tracker.active, false);
      write(21);
      tracker.start();
      assert.deepEqual(dirtyPages(tracker.read()), []);
    });
  });

  it("reads the last dirty pages of what it unmaps, without clearing them", () => {
    const flags: number[] = [];
    withTracker(({ session, write }) => {
      const { tracker } = session;
      tracker.start();
      write(20, 120, 515);
      const { reading, unmapped, error } = tracker.unmapWithDirty(pages(16), pages(164));
      assert.deepEqual([dirtyPages(reading), unmapped, error], [[20, 120], pages(164), null]);
      assert.deepEqual(session.mappings, [range(512, 8)]);
      assert.deepEqual(dirtyPages(tracker.read()), [515]);
      const keeps = IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR;
      assert.deepEqual(flags, [keeps, keeps, 0]);
    }, (kernel) =>
      intercept(kernel, (next, fd, request, arg) => {
        if (request === IOMMU_HWPT_GET_DIRTY_BITMAP) {
          flags.push(iommuHwptGetDirtyBitmap.unpack(arg as Uint8Array).flags);
        }
        return next(fd, request, arg);
      }));
  });

  it("counts all pages of a mapping that it cannot read, and says why", () => {
    withTracker(({ session: { tracker }, write }) => {
      tracker.start();
      write(20, 120);
      const reading = tracker.read();
      assert.deepEqual(reading.lost.map(({ bitmap }) => bitmap.iova), [pages(116), pages(512)]);
      assert.match(reading.lost[0]!.lost!.message, /^Cannot read the dirty pages of .*EIO/);
      assert.equal(reading.dirtyPages, 1 + 64 + 8);
    }, refusing(IOMMU_HWPT_GET_DIRTY_BITMAP, "EIO", 2));
  });

  it("counts all pages if it cannot unmap, and leaves them mapped", () => {
    withTracker(({ session, write }) => {
      const { tracker } = session;
      tracker.start();
      write(20);
      const { reading, unmapped, error } = tracker.unmapWithDirty(pages(16), pages(164));
      assert.deepEqual([reading.dirtyPages, unmapped], [164, 0n]);
      assert.match(error!.message, /EIO/);
      assert.deepEqual(session.mappings, MAP);
      // Nothing was cleared.
      assert.deepEqual(dirtyPages(tracker.read()), [20]);
    }, (kernel) => {
      let failed = false;
      return intercept(kernel, (next, fd, request, arg) => {
        if (request === IOMMU_IOAS_UNMAP && !failed) {
          failed = true;
          throw new SysError("ioctl", 5);
        }
        return next(fd, request, arg);
      });
    });
  });

  const refusals: readonly (readonly [spec: string, request: number | null, why: RegExp])[] = [
    ["cdev=1", null, /there is no IOMMU hardware behind it/],
    ["cdev=1&iommu=all-dirty", null, /does not have the capability \(IOMMU_GET_HW_INFO\)/],
    [TRACKS, IOMMU_GET_HW_INFO, /ioctl IOMMU_GET_HW_INFO: ENOTTY/],
    [TRACKS, IOMMU_HWPT_ALLOC, /ioctl IOMMU_HWPT_ALLOC: ENOTTY/],
  ];
  for (const [spec, request, why] of refusals) {
    it(`is refused with ${spec}${request === null ? "" : ` and ioctl 0x${request.toString(16)}`}`, () => {
      const over = request === null ? {} : { over: refusing(request, "ENOTTY") };
      assert.throws(
        () => withSession(spec, { map: MAP, tracker: "iommufd", ...over }, () => {}),
        (error: Error & { reasons?: { code: string; message: string }[] }) => {
          assert.deepEqual(error.reasons?.map(({ code }) => code), ["no-iommufd-tracking"]);
          assert.match(error.reasons[0]!.message, why);
          return true;
        },
      );
    });
  }

  it("leaves the device in its IOAS if it cannot be attached to the page table", () => {
    // The first call attaches the device to its IOAS.
    const over = refusing(VFIO_DEVICE_ATTACH_IOMMUFD_PT, "EIO", 2);
    assert.throws(
      () => withSession(TRACKS, { map: MAP, tracker: "iommufd", over }, () => {}),
      { code: "EIO" },
    );
  });

  it("is refused where the device is opened by its group, or bound elsewhere", () => {
    const codes = (open: () => DirtySession): string[] => {
      try {
        open().close();
      } catch (error) {
        return (error as { reasons: { code: string }[] }).reasons.map(({ code }) => code);
      }
      return [];
    };
    const sim = `sim:trapped?size=4KiB&${TRACKS}`;
    const group = { maps: MAP, tracker: "iommufd", via: "group" } as const;
    assert.deepEqual(codes(() => DirtySession.open(sim, group)), ["no-ioas"]);
    withSession(TRACKS, { map: MAP, tracker: "iommufd" }, ({ session, kernel }) => {
      const { fd, ioas } = session.device;
      const fds = { iommufdFd: ioas!.iommufd.fd.number, ioasId: ioas!.id };
      const borrowed = { kernel, mappings: MAP, tracker: "iommufd", ...fds } as const;
      assert.deepEqual(
        codes(() => DirtySession.open(`fd:${fd.number}`, borrowed)),
        ["no-iommufd-tracking"],
      );
    });
  });
});
