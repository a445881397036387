/** How the bugs of a device's own DMA log show. */

import { STOP } from "../../../src/sim/v2/v2_states.ts";
import { LogCalls } from "../../migration/v2_cases/log_calls.ts";
import { VFIO_GROUP_GET_DEVICE_FD } from "../../../src/uapi/mod.ts";
import { bytes, text } from "../_device_client.ts";
import { pages, Type1Client } from "../_type1.ts";
import { type BugCase, said } from "./_case.ts";
import type { V2BugClient } from "./_clients.ts";

type Ranges = readonly (readonly [bigint, bigint])[];
const ALL: Ranges = [[0n, pages(1024)]];
const TOP = 1n << 64n;

type LogProbe = (
  log: LogCalls,
  write: (...pages: number[]) => void,
  client: V2BugClient,
) => unknown;

/** Probes the log of a device with 1024 pages of memory. */
const withLog = (probe: LogProbe) => (client: V2BugClient): unknown => {
  using type1 = new Type1Client(client);
  type1.map(0, 1024);
  using log = new LogCalls(client);
  const write = (...list: number[]): void => {
    for (const page of list) client.device.dma.write(pages(page), bytes(8));
  };
  return probe(log, write, client);
};

const starts = (ranges: Ranges, pageSize = 4096n, count = ranges.length): LogProbe => (log) =>
  said(() => Number(log.start(ranges, pageSize, log.memory.address, count)));

/** The pages that are reported after some were written. */
const reported = (
  write: readonly number[],
  report: (log: LogCalls) => unknown,
): LogProbe =>
(log, writeTo) => {
  log.start(ALL);
  writeTo(...write);
  return report(log);
};

const whole = (log: LogCalls): number[] => log.report(0n, pages(1024));

export const V2_LOG_CASES = {
  "log-empty": { probe: withLog(starts([])), clean: "EINVAL", buggy: 4096 },
  "log-many": { probe: withLog(starts([], 4096n, 257)), clean: "E2BIG", buggy: 4096 },
  "log-unaligned": { probe: withLog(starts([[1n, 4096n]])), clean: "EINVAL", buggy: 4096 },
  "log-overlap": {
    probe: withLog(starts([[0n, 8192n], [4096n, 4096n]])),
    clean: "EINVAL",
    buggy: 4096,
  },
  "log-wraps": {
    probe: withLog(starts([[TOP - 4096n, 8192n]])),
    clean: "EOVERFLOW",
    buggy: 4096,
  },
  "log-twice": {
    probe: withLog((
      log,
      write,
      client,
    ) => [starts(ALL)(log, write, client), starts(ALL)(log, write, client)]),
    clean: [4096, "EINVAL"],
    buggy: [4096, 4096],
  },
  "log-odd-page": { probe: withLog(starts(ALL)), clean: 4096, buggy: 12288 },
  "log-report-page": {
    probe: withLog(reported([1], (log) => said(() => log.report(0n, pages(64), 2048n)))),
    clean: "EINVAL",
    buggy: [],
  },
  "log-report-off": { probe: withLog((log) => said(() => whole(log))), clean: "EINVAL", buggy: [] },
  "log-stop-ignored": {
    probe: withLog(reported([3], (log) => {
      log.stop();
      return said(() => whole(log));
    })),
    clean: "EINVAL",
    buggy: [3],
  },
  "log-keeps": {
    probe: withLog(reported([3, 5], (log) => [whole(log), whole(log)])),
    clean: [[3, 5], []],
    buggy: [[3, 5], [3, 5]],
  },
  "log-part-clears-all": {
    probe: withLog(reported([3, 500], (log) => [log.report(0n, pages(64)), whole(log)])),
    clean: [[3], [500]],
    buggy: [[3], []],
  },
  "log-clears-bits": {
    probe: withLog(reported([3], (log) => log.report(0n, pages(8), 4096n, 0x81).slice(0, 3))),
    clean: [0, 3, 7],
    buggy: [3, 64, 71],
  },
  "log-overruns": {
    probe: withLog(reported([3], (log) => log.report(0n, pages(64)))),
    clean: [3],
    buggy: [3, ...Array.from({ length: 64 }, (_, bit) => 64 + bit)],
  },
  "log-unfolded": {
    probe: withLog(reported([5], (log) => log.report(0n, pages(64), 16384n))),
    clean: [1],
    buggy: [5],
  },
  "log-lost-by-step": {
    probe: withLog((log, write, client) => {
      log.start(ALL);
      write(7);
      client.go(STOP);
      return whole(log);
    }),
    clean: [7],
    buggy: [],
  },
  "log-loses-pages": {
    probe: withLog(reported([6, 7, 8, 15], whole)),
    clean: [6, 7, 8, 15],
    buggy: [6, 8],
  },
  "log-first-range": {
    probe: withLog((log, write) => {
      log.start([[0n, pages(64)], [pages(512), pages(64)]]);
      write(3, 520);
      return [log.report(0n, pages(64)), log.report(pages(512), pages(64))];
    }),
    clean: [[3], [8]],
    buggy: [[3], []],
  },
  "log-kept-by-close": {
    probe: withLog((log, _write, client) => {
      log.start(ALL);
      client.kernel.close(client.fd);
      const name = text(client.device.path);
      const fd = client.kernel.ioctl(client.group, VFIO_GROUP_GET_DEVICE_FD, name);
      // The client closes the number that it had.
      if (fd !== client.fd) client.kernel.dup3(fd, client.fd);
      return said(() => Number(log.start(ALL)));
    }),
    clean: 4096,
    buggy: "EINVAL",
  },
  "log-report-aligned": {
    probe: withLog(reported([5], (log) => log.report(pages(3), pages(61)))),
    clean: [2],
    buggy: [5],
  },
} as const satisfies Record<string, BugCase<V2BugClient>>;
