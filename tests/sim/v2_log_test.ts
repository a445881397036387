import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { askLogOrder, LogCalls } from "../migration/v2_cases/log_calls.ts";
import { bytes } from "./_device_client.ts";
import { pages, Type1Client } from "./_type1.ts";
import { V2Client } from "./_v2_client.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

/** A device with 1024 pages of memory from IOVA 0 on, and a DMA log. */
function withLog(
  spec: string,
  test: (log: LogCalls, write: (page: number) => void) => void,
): void {
  using client = V2Client.of(spec);
  using type1 = new Type1Client(client);
  type1.map(0, 1024);
  using log = new LogCalls(client);
  test(log, (page) => client.device.dma.write(pages(page), bytes(8)));
  assert.deepEqual(client.device.violations, []);
}

const ALL: readonly (readonly [bigint, bigint])[] = [[0n, pages(1024)]];

describe("the DMA log of a simulated device", () => {
  for (const name of ["mlx5", "pds"]) {
    it(`reports each page once that was written to since the last report: ${name}`, () => {
      withLog(name, (log, write) => {
        write(1);
        assert.equal(log.start(ALL), 4096n);
        for (const page of [5, 5, 7, 1000]) write(page);
        assert.deepEqual(log.report(0n, pages(64)), [5, 7]);
        assert.deepEqual(log.report(0n, pages(1024)), [1000]);
        assert.deepEqual(log.report(0n, pages(1024)), []);
        write(6);
        log.stop();
        log.stop();
        refused("EINVAL", () => log.report(0n, pages(1024)));
        log.start(ALL);
        assert.deepEqual(log.report(0n, pages(1024)), []);
      });
    });
  }

  it("has the pages that a running device writes to by itself", () => {
    let now = 0;
    using client = V2Client.withClock(() => now, "mlx5?dma=sequential:10/s");
    using type1 = new Type1Client(client);
    type1.map(0, 1024);
    using log = new LogCalls(client);
    now += 1000;
    log.start(ALL);
    now += 1000;
    assert.deepEqual(log.report(0n, pages(1024)), [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
  });

  it("sets bits in the caller's bitmap, and clears none", () => {
    withLog("mlx5", (log, write) => {
      log.start(ALL);
      write(3);
      const set = log.report(0n, pages(64), 4096n, 0b0101_0000);
      assert.deepEqual(set.slice(0, 5), [3, 4, 6, 12, 14]);
    });
  });

  it("logs in its own page size, and reports in the one that is asked for", () => {
    withLog("mlx5?log-page=64KiB", (log, write) => {
      assert.equal(log.start(ALL, 4096n), 65536n);
      write(17);
      const block = Array.from({ length: 16 }, (_, index) => 16 + index);
      assert.deepEqual(log.report(0n, pages(1024)), block);
      write(17);
      assert.deepEqual(log.report(0n, pages(1024), 65536n), [1]);
      // A page that is only partly in a report is reported again by the next one.
      write(17);
      assert.deepEqual(log.report(0n, pages(20)), [16, 17, 18, 19]);
      assert.deepEqual(log.report(pages(16), pages(16)), block.map((bit) => bit - 16));
    });
    withLog("mlx5", (log) => assert.equal(log.start(ALL, 1n << 22n), 1n << 21n));
  });

  it("checks start and report in the kernel's order", () => {
    withLog("mlx5", (log) => {
      askLogOrder(log);
      refused("EOPNOTSUPP", () => log.start([[0n, 2n ** 43n]]));
      log.start([[8192n, 4096n], [0n, 4096n], [4096n, 4096n]]);
      refused("EINVAL", () => log.start(ALL));
    });
  });

  it("joins ranges if there are too many, at the smallest gaps", () => {
    withLog("mlx5", (log, write) => {
      const ranges = Array.from({ length: 17 }, (_, n) => [pages(n * 10), pages(1)] as const)
        .map(([iova, length]): readonly [bigint, bigint] => [
          iova === pages(50) ? pages(49) : iova,
          length,
        ]);
      log.start(ranges);
      for (const page of [5, 45, 55]) write(page);
      // The smallest gap is between 40 and 49, so writes in it are reported too.
      assert.deepEqual(log.report(0n, pages(1024)), [45]);
    });
  });

  it("reports nothing while it is off, and drops bits that it cannot write", () => {
    withLog("mlx5", (log, write) => {
      refused("EINVAL", () => log.report(0n, pages(1)));
      log.start(ALL);
      write(2);
      // No error says that there is no memory behind the bitmap; the bits are lost.
      assert.deepEqual(log.report(0n, pages(64), 4096n, 0, 8n), []);
      assert.deepEqual(log.report(0n, pages(64)), []);
    });
  });

  it("reports only within one range, if the driver requires that: pds", () => {
    const halves: readonly (readonly [bigint, bigint])[] = [
      [0n, pages(64)],
      [pages(64), pages(64)],
    ];
    withLog("pds", (log) => {
      log.start(halves);
      refused("EINVAL", () => log.report(pages(32), pages(64)));
      assert.deepEqual(log.report(pages(64), pages(64)), []);
    });
    withLog("mlx5", (log) => {
      log.start(halves);
      assert.deepEqual(log.report(pages(32), pages(64)), []);
    });
  });

  it("outlives a reset, and ends with the device's file", () => {
    const client = V2Client.of("mlx5");
    const log = new LogCalls(client);
    log.start(ALL);
    client.reset();
    log.report(0n, pages(64));
    log.memory.close();
    client.close();
    using again = new V2Client(client.kernel);
    using other = new LogCalls(again);
    refused("EINVAL", () => other.report(0n, pages(64)));
  });

  it("fails with ENOTTY if the device has none", () => {
    for (const name of ["hisi", "virtio", "trapped", "vfio-pci"]) {
      using client = V2Client.of(name);
      using log = new LogCalls(client);
      refused("ENOTTY", () => log.start(ALL));
      refused("ENOTTY", () => log.stop());
      refused("ENOTTY", () => log.report(0n, 4096n));
    }
  });
});
