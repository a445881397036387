import { describe, it } from "node:test";
import assert from "node:assert/strict";
import type { LogTracker } from "../../src/dirty/log/log_tracker.ts";
import { recording } from "./_log_calls.ts";
import {
  dirtyPages,
  pages,
  range,
  type SimSession,
  type SimSessionOptions,
  withSession,
} from "./_session.ts";

/** A session with the device's log. */
function withLog(
  spec: string,
  options: SimSessionOptions,
  use: (sim: SimSession & { readonly tracker: LogTracker }) => void,
): void {
  withSession(spec, { personality: "mlx5", tracker: "device", ...options }, (sim) => {
    const tracker = sim.session.tracker as LogTracker;
    assert.equal(tracker.name, "device");
    use({ ...sim, tracker });
    assert.deepEqual(sim.kernel.devices[0]!.violations, []);
  });
}

function numbers(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => from + index);
}

describe("a tracker by a device's log", () => {
  for (const personality of ["mlx5", "pds"]) {
    it(`reports the pages that were written, once: ${personality}`, () => {
      const map = [range(1, 100), range(101, 30), range(1000, 128)];
      withLog("", { personality, map }, ({ tracker, write }) => {
        assert.equal(tracker.pgsize, 4096);
        assert.equal(tracker.devicePgsize, 4096n);
        write(5);
        tracker.start();
        tracker.start();
        assert.equal(tracker.active, true);
        assert.deepEqual(dirtyPages(tracker.read()), []);
        write(1, 100, 101, 130, 1000, 1127);
        const reading = tracker.read({ twice: true });
        assert.deepEqual(dirtyPages(reading), [1, 100, 101, 130, 1000, 1127]);
        assert.deepEqual([reading.pages, reading.pinnedPages], [258, null]);
        assert.equal(reading.verdict, "tracks");
        assert.deepEqual(dirtyPages(tracker.read()), []);
        write(7);
        tracker.stop();
        tracker.stop();
        assert.throws(() => tracker.read(), /tracking has not started$/);
        tracker.start();
        const again = tracker.read();
        assert.deepEqual([dirtyPages(again), again.pinnedPages], [[], null]);
      });
    });
  }

  it("keeps what a report of one mapping took from its neighbour", () => {
    const map = [range(0, 10), range(10, 10), range(20, 10)];
    withLog("", { map }, ({ tracker, write }) => {
      tracker.start();
      write(3, 9, 10, 15, 20);
      assert.deepEqual(dirtyPages(tracker.read({ ranges: [range(0, 10)] })), [3, 9]);
      assert.deepEqual(dirtyPages(tracker.read({ ranges: [range(20, 10)] })), [20]);
      assert.deepEqual(dirtyPages(tracker.read()), [10, 15]);
      assert.deepEqual(dirtyPages(tracker.read()), []);
      write(10);
      tracker.read({ ranges: [range(0, 10)] });
      tracker.stop();
      tracker.start();
      assert.deepEqual(dirtyPages(tracker.read()), []);
    });
  });

  it("goes by the pages that the device chose, whatever lies in them", () => {
    const { calls, over } = recording();
    const map = [range(0, 100), range(100, 100), range(5000, 10)];
    withLog("log-page=2MiB", { map, over }, ({ tracker, write }) => {
      assert.equal(tracker.devicePgsize, 2n << 20n);
      // Tried twice: reports are of whole pages of the device's.
      assert.deepEqual(calls.map(({ what }) => what), ["start", "stop", "start", "report", "stop"]);
      tracker.start();
      write(3);
      assert.deepEqual(dirtyPages(tracker.read()), numbers(0, 200));
      write(5001);
      assert.deepEqual(dirtyPages(tracker.read()), numbers(5000, 10));
      for (const call of calls) {
        if (call.what === "report") assert.equal(call.iova % (2n << 20n), 0n);
      }
    });
  });

  it("reports at most 2 MiB of bitmap a call", () => {
    const { calls, over } = recording();
    withLog("", { map: [range(0, 1)], over }, ({ tracker, session: { space: container } }) => {
      const huge = { iova: 1n << 40n, size: 65n << 30n };
      container.know(huge);
      tracker.start();
      calls.length = 0;
      const reading = tracker.read({ ranges: [huge] });
      assert.deepEqual([reading.pages, reading.dirtyPages], [65 << 18, 0]);
      assert.deepEqual(calls, [
        { what: "report", iova: 1n << 40n, length: 64n << 30n },
        { what: "report", iova: (1n << 40n) + (64n << 30n), length: 1n << 30n },
      ]);
      container.forget(huge.iova);
    });
  });

  it("asks for 256 ranges at most, and still distinguishes all mappings", () => {
    const { calls, over } = recording();
    const map = numbers(0, 300).map((n) => range(n * 200, 3));
    withLog("", { map, over }, ({ tracker, write }) => {
      tracker.start();
      assert.deepEqual(calls.at(-1), { what: "start", ranges: 256, pageSize: 4096n });
      const written = numbers(0, 300).map((n) => n * 200 + n % 3);
      write(...written);
      assert.deepEqual(dirtyPages(tracker.read()), written);
    });
  });

  it("reads the last dirty pages of what was unmapped", () => {
    withLog("", { map: [range(0, 10), range(10, 10)] }, ({ tracker, session, write }) => {
      tracker.start();
      write(4, 14);
      const { reading, unmapped, error } = tracker.unmapWithDirty(0n, pages(10));
      assert.deepEqual([dirtyPages(reading), unmapped, error], [[4], pages(10), null]);
      assert.deepEqual(session.mappings.map(({ iova }) => iova), [pages(10)]);
      assert.deepEqual(dirtyPages(tracker.read()), [14]);
    });
  });
});

describe("a tracker by a device's log that meets a failure", () => {
  const map = [range(0, 10), range(100, 10), range(200, 10)];

  it("of one report: all of the mapping is dirty, and it says why", () => {
    withLog("fault=log-report:3:EFAULT", { map }, ({ tracker, write }) => {
      tracker.start();
      write(3, 103, 203);
      const reading = tracker.read({ twice: true });
      assert.deepEqual(dirtyPages(reading), [3, ...numbers(100, 10), 203]);
      assert.equal(reading.pinnedPages, null);
      assert.match(
        reading.lost[0]!.lost!.message,
        /^Cannot read the device's log of 0x64000-0x6dfff: its bitmap cannot be written \(EFAULT\)$/,
      );
      assert.deepEqual(dirtyPages(tracker.read()), [103]);
    });
  });

  it("of a report that was about its neighbour, too: that is dirty as well", () => {
    const map = [range(0, 10), range(10, 10)];
    withLog("fault=log-report:2:EFAULT", { map }, ({ tracker }) => {
      tracker.start();
      assert.deepEqual(dirtyPages(tracker.read()), numbers(0, 20));
      assert.deepEqual(dirtyPages(tracker.read()), []);
    });
  });

  it("of the log itself: everything is dirty until it is started afresh", () => {
    const { calls, over } = recording();
    withLog("fault=log-error:3", { map, over }, ({ tracker, write }) => {
      tracker.start();
      write(3);
      const first = tracker.read();
      assert.deepEqual(dirtyPages(first), [3, ...numbers(100, 10), ...numbers(200, 10)]);
      assert.match(
        first.lost[0]!.lost!.message,
        /has nothing to report until it is started again \(EIO\)$/,
      );
      const asked = calls.length;
      const second = tracker.read();
      assert.equal(second.dirtyPages, 30);
      assert.equal(second.verdict, "undecided");
      assert.equal(calls.length, asked);
      const { reading, unmapped, error } = tracker.unmapWithDirty(pages(200), pages(10));
      assert.deepEqual([reading.dirtyPages, unmapped], [10, pages(10)]);
      assert.match(error!.message, /\(EIO\)$/);
      tracker.stop();
      tracker.start();
      assert.deepEqual(dirtyPages(tracker.read()), []);
    });
  });

  it("of unmapping: all counts as dirty, and what is left is still read", () => {
    withLog("fault=unmap:1:EFAULT", { map }, ({ tracker, session, write }) => {
      tracker.start();
      const { reading, unmapped, error } = tracker.unmapWithDirty(0n, pages(150));
      assert.deepEqual([reading.dirtyPages, unmapped], [20, 0n]);
      assert.match(error!.message, /EFAULT/);
      assert.equal(session.mappings.length, 3);
      write(205);
      assert.deepEqual(dirtyPages(tracker.read()), [205]);
    });
  });

  it("of unmapping what is not there: it counts as dirty", () => {
    withLog("", { map: [range(0, 10)] }, ({ tracker, session: { space: container } }) => {
      container.know(range(100, 10));
      tracker.start();
      const { reading, unmapped, error } = tracker.unmapWithDirty(pages(100), pages(10));
      assert.deepEqual([reading.dirtyPages, unmapped], [10, 0n]);
      assert.match(error!.message, /the kernel unmapped 0 of its 40960 bytes$/);
    });
  });

  it("takes what was mapped later for dirty, and what ends where addresses do", () => {
    withLog("", { map: [range(0, 10)] }, ({ tracker, session: { space: container, memory } }) => {
      const last = { iova: 2n ** 64n - pages(2), size: pages(2) };
      container.know(last);
      tracker.start();
      container.map({ ...range(500, 2), vaddr: memory!.address, flags: 3 });
      const { lost, dirtyPages: dirty } = tracker.read();
      assert.equal(dirty, 4);
      assert.match(lost[0]!.lost!.message, /it was mapped after the log had been started$/);
      assert.match(lost[1]!.lost!.message, /a log takes no range that ends at 2\^64$/);
    });
  });

  it("does not start if nothing is mapped, or a mapping is too large", () => {
    withLog("", {}, ({ tracker, session: { space: container } }) => {
      assert.throws(() => tracker.start(), {
        name: "DirtyRangeError",
        message: /nothing is mapped/,
      });
      const huge = { iova: 1n << 44n, size: 1n << 43n };
      container.know(huge);
      assert.throws(() => tracker.start(), { name: "DirtyRangeError", message: /in parts$/ });
      assert.equal(tracker.active, false);
      container.forget(huge.iova);
    });
  });

  const refused:
    readonly (readonly [what: string, spec: string, personality: string, code: string])[] = [
      ["has no log", "", "hisi", "no-device-log"],
      ["cannot be reported", "fault=no-log-report", "mlx5", "device-log-unreadable"],
      ["does not take so much", "fault=log-start:1:EOPNOTSUPP", "mlx5", "device-log-refused"],
    ];
  for (const [what, spec, personality, code] of refused) {
    it(`says of a device that it ${what}`, () => {
      assert.throws(
        () => withLog(spec, { personality, map }, () => {}),
        (error: Error & { reasons?: { code: string }[] }) => {
          assert.equal(error.name, "UnsupportedError");
          assert.deepEqual(error.reasons?.map((reason) => reason.code), [code]);
          return true;
        },
      );
    });
  }

  it("says that another process may have started the log", () => {
    withLog("fault=log-start:2:EINVAL", { map }, ({ tracker }) => {
      assert.throws(() => tracker.start(), { name: "DmaError", message: /by somebody who has/ });
      assert.equal(tracker.active, false);
      tracker.start();
    });
  });

  it("does not believe in a page size that is none, or that changes; it stops the log", () => {
    for (const answer of [() => 0n, () => 12288n]) {
      const { calls, over } = recording(answer);
      assert.throws(() => withLog("", { map, over }, () => {}), { name: "AnswerError" });
      assert.equal(calls.at(-1)!.what, "stop");
    }
    let pageSize = 1n << 20n;
    const { calls, over } = recording(() => pageSize <<= 1n);
    assert.throws(() => withLog("", { map, over }, () => {}), /it chose pages of 2097152 bytes/);
    assert.deepEqual(calls.map(({ what }) => what), ["start", "stop", "start", "stop"]);
  });
});
