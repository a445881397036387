import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { openFds } from "../../src/kernel/fd.ts";
import { MAP_SHARED, PROT_READ } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { VFIO_IOMMU_DIRTY_PAGES } from "../../src/uapi/mod.ts";
import { DirtySession, type DirtySessionOptions } from "../../src/dirty/session.ts";
import { intercept, pages, range, withSession } from "./_session.ts";

/** Opens a session that must fail, and sees that nothing stays open. */
function failing(spec: string, options: DirtySessionOptions): Error & { hint?: { text: string } } {
  const kernel = new SimKernel(`trapped?size=4KiB${spec}`);
  try {
    DirtySession.open(kernel.devices[0]!.path, { kernel, ...options }).close();
  } catch (error) {
    assert.deepEqual(kernel.openObjects, []);
    assert.deepEqual(openFds(), []);
    return error as Error;
  }
  assert.fail("it could be opened");
}

describe("a session", () => {
  it("maps memory of one fd, part by part", () => {
    withSession("", { map: [range(100, 2), range(0, 3)] }, ({ session, kernel }) => {
      const { mapped, mappings, memory, fds, device } = session;
      assert.deepEqual(mapped, [
        { ...range(0, 3), offset: 0 },
        { ...range(100, 2), offset: 3 * 4096 },
      ]);
      assert.deepEqual(mappings.map(({ iova, size }) => ({ iova, size })), [
        range(0, 3),
        range(100, 2),
      ]);
      assert.equal(memory!.size, 5 * 4096);
      assert.equal(fds.device, device.fd.number);
      // What the device writes shows in the memory, and to who maps its fd.
      kernel.devices[0]!.dma.write(pages(101) + 5n, new Uint8Array([7]));
      using other = kernel.mmap(4096, {
        fd: fds.memory!,
        offset: 4 * 4096,
        prot: PROT_READ,
        flags: MAP_SHARED,
      });
      const byte = new Uint8Array(1);
      other.read(5, byte);
      assert.equal(byte[0], 7);
    });
  });

  it("has neither memory nor mappings if none are asked for", () => {
    withSession("", {}, ({ session }) => {
      assert.equal(session.memory, null);
      assert.deepEqual(session.mappings, []);
      assert.equal(session.fds.memory, null);
      session.tracker.start();
      const reading = session.tracker.read();
      assert.deepEqual([reading.pages, reading.dirtyPages, reading.pinnedPages], [0, 0, 0]);
      assert.equal(reading.verdict, "undecided");
    });
  });

  it("closes what it opened once, whatever was unmapped before", () => {
    withSession("", { map: [range(0, 3), range(10, 3)] }, ({ session }) => {
      session.tracker.start();
      session.tracker.unmapWithDirty(0n, pages(3));
      session.close();
      session.close();
    });
  });

  it("stops, unmaps and closes, though stopping fails", () => {
    const kernel = new SimKernel("trapped?size=4KiB");
    const lying = intercept(kernel, (next, fd, request, arg) =>
      // STOP is asked for with no flag at all.
      request === VFIO_IOMMU_DIRTY_PAGES && arg instanceof Uint8Array && arg[4] === 2
        ? next(fd, request, new Uint8Array([8, 0, 0, 0, 0, 0, 0, 0]))
        : next(fd, request, arg));
    const session = DirtySession.open(kernel.devices[0]!.path, {
      kernel: lying,
      maps: [range(0, 3)],
    });
    session.tracker.start();
    assert.throws(() => session.close(), { name: "SysError", code: "EINVAL" });
    assert.deepEqual(kernel.openObjects, []);
    assert.deepEqual(openFds(), []);
  });

  it("refuses ranges that are none before it opens the device", () => {
    for (
      const [options, text] of [
        [{ maps: [range(0, 0)] }, /it is empty/],
        [{ maps: [{ iova: 0n, size: 5000n }] }, /not in whole pages of 4096/],
        [{ maps: [range(0, 2), range(1, 2)] }, /overlaps/],
        [{ maps: [range(0, 2)], mappings: [range(1, 2)] }, /overlaps/],
      ] as const
    ) {
      // It would be busy, had it been tried.
      const error = failing("&fault=group-busy", options);
      assert.equal(error.name, "DirtyRangeError");
      assert.match(error.message, text);
    }
  });

  it("undoes what it did if a later step fails", () => {
    assert.equal(failing("&fault=group-busy", {}).name, "BusyError");
    assert.equal(failing("&fault=no-dirty-capability", {}).name, "UnsupportedError");
    const error = failing("&fault=map:2:ENOSPC", { maps: [range(0, 1), range(1, 1)] });
    assert.equal(error.name, "DmaError");
    assert.match(error.message, /^Cannot map 0x1000-0x1fff for DMA/);
    const limit = failing("&iommu=all-dirty&memlock=4KiB", { maps: [range(0, 2)] });
    assert.match(limit.message, /may lock 4096 bytes/);
    assert.match(limit.hint!.text, /ulimit -l/);
    const huge = failing("", { maps: [{ iova: 0n, size: 1n << 21n }], hugepages: true });
    assert.match(huge.message, /huge pages/);
  });

  it("needs no kernel for a simulated device", () => {
    using session = DirtySession.open("sim:trapped?pin=1", { maps: [range(0, 64)] });
    session.tracker.start();
    assert.equal(session.tracker.read().dirtyPages, 1);
  });
});
