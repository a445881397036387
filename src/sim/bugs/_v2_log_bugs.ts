/**
 * Bugs of a v2 device's own DMA log.
 */

import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  vfioDeviceFeature,
  vfioDeviceFeatureDmaLoggingControl,
  vfioDeviceFeatureDmaLoggingReport,
} from "../../uapi/mod.ts";
import type { DeviceModel } from "../device/device_model.ts";
import type { DmaLog, LoggedRange } from "../dma/dma_log.ts";
import type { Bytes } from "../os/bytes.ts";
import { Refusal } from "../os/refusal.ts";
import type { UserMemory } from "../os/user_memory.ts";
import { override } from "./_override.ts";
import { during, onArc, onFeature, type Plant, refusalOf } from "./_points.ts";

const LEAST_PAGE = 4096n;
const MAX_RANGES = 256;
/** One page of so many is not logged. */
const LOST = 8n;
const WORD = 8;
const ODD_PAGE = 12288n;

const PAGE_SIZE_AT: number = vfioDeviceFeature.size +
  vfioDeviceFeatureDmaLoggingControl.offsetOf("page_size");
const NUM_RANGES_AT: number = vfioDeviceFeature.size +
  vfioDeviceFeatureDmaLoggingControl.offsetOf("num_ranges");
const REPORT_PAGE_AT: number = vfioDeviceFeature.size +
  vfioDeviceFeatureDmaLoggingReport.offsetOf("page_size");

/** Every address, for a report that is not given to anyone. */
const ALL: LoggedRange = { iova: 0n, end: 1n << 64n };
const NOBODY: UserMemory = { read: () => {}, write: () => {}, has: () => true };

function logOf({ name, log }: DeviceModel): DmaLog {
  if (log === null) throw new TypeError(`Cannot give ${name} a bug of its DMA log: it has none`);
  return log;
}

/** Makes a START succeed that is refused with an errno, if its number of ranges is as given. */
const startAccepted = (
  errno: string,
  ranges: (count: number) => boolean,
): Plant =>
(device) =>
  onFeature(device, ({ feature, sets, probes, view, bytes, clean }) => {
    const starts = feature === VFIO_DEVICE_FEATURE_DMA_LOGGING_START && sets && !probes;
    if (!starts || bytes.length < NUM_RANGES_AT + 4) return clean();
    try {
      return clean();
    } catch (error) {
      const wrong = error instanceof Refusal && error.code === errno;
      if (wrong && ranges(view.getUint32(NUM_RANGES_AT, true))) return 0;
      throw error;
    }
  });

/** Changes what the log does around a report. */
const onReport = (
  before: (memory: UserMemory, bitmap: bigint, bytes: number) => void,
  after: (memory: UserMemory, bitmap: bigint, bytes: number) => void,
): Plant =>
(device) =>
  override(logOf(device), "report", (clean) => (range, pageSize, memory, bitmap) => {
    const bytes = bitmapBytes(range, pageSize);
    before(memory, bitmap, bytes);
    clean(range, pageSize, memory, bitmap);
    after(memory, bitmap, bytes);
  });

/** Bytes of a report's bitmap, in whole words. */
function bitmapBytes({ iova, end }: LoggedRange, pageSize: bigint): number {
  const bits = (end - iova + pageSize - 1n) / pageSize;
  return Number((bits + 63n) / 64n) * WORD;
}

/** Clears the log. */
function clear(log: DmaLog, report: DmaLog["report"]): void {
  for (const range of log.ranges) report(range, LEAST_PAGE, NOBODY, 0n);
  refusalOf(() => report(ALL, LEAST_PAGE, NOBODY, 0n));
}

export const V2_LOG_BUGS = {
  "log-empty": startAccepted("EINVAL", (count) => count === 0),
  "log-many": startAccepted("E2BIG", (count) => count > MAX_RANGES),
  "log-unaligned": startAccepted("EINVAL", (count) => count === 1),
  "log-overlap": startAccepted("EINVAL", (count) => count > 1),
  "log-wraps": startAccepted("EOVERFLOW", () => true),
  "log-twice": (device) => {
    const log = logOf(device);
    override(
      log,
      "start",
      (clean) => (ranges, pageSize) => log.on ? pageSize : clean(ranges, pageSize),
    );
  },
  "log-odd-page": (device) =>
    onFeature(device, ({ feature, probes, view, clean }) => {
      const result = clean();
      if (feature === VFIO_DEVICE_FEATURE_DMA_LOGGING_START && !probes) {
        view.setBigUint64(PAGE_SIZE_AT, ODD_PAGE, true);
      }
      return result;
    }),
  "log-report-page": (device) =>
    onFeature(device, ({ feature, gets, probes, view, bytes, clean }) => {
      const reports = feature === VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT && gets && !probes;
      if (!reports || bytes.length < REPORT_PAGE_AT + 8) return clean();
      return view.getBigUint64(REPORT_PAGE_AT, true) < LEAST_PAGE ? 0 : clean();
    }),
  "log-report-off": (device) => {
    const log = logOf(device);
    override(log, "report", (clean) => (...report) => {
      if (log.on) clean(...report);
    });
  },
  "log-stop-ignored": (device) => {
    logOf(device).stop = () => {};
  },
  "log-keeps": (device) => {
    const log = logOf(device);
    const written: (readonly [iova: bigint, length: number])[] = [];
    override(log, "start", (clean) => (ranges, pageSize) => {
      written.length = 0;
      return clean(ranges, pageSize);
    });
    override(log, "mark", (clean) => (iova, length) => {
      written.push([iova, length]);
      clean(iova, length);
    });
    override(log, "report", (clean) => (...report) => {
      clean(...report);
      for (const [iova, length] of written.splice(0)) log.mark(iova, length);
    });
  },
  "log-part-clears-all": (device) => {
    const log = logOf(device);
    override(log, "report", (clean) => (...report) => {
      clean(...report);
      clear(log, clean);
    });
  },
  "log-clears-bits": onReport(
    (memory, bitmap, bytes) => memory.write(bitmap, new Uint8Array(bytes)),
    () => {},
  ),
  "log-overruns": onReport(
    () => {},
    (memory, bitmap, bytes) => {
      const word: Bytes = new Uint8Array(WORD).fill(0xff);
      refusalOf(() => memory.write(bitmap + BigInt(bytes), word));
    },
  ),
  "log-unfolded": (device) =>
    override(logOf(device), "report", (clean) => ({ iova, end }, pageSize, memory, bitmap) => {
      // As many bits as the caller has room for.
      const part = (end - iova) / (pageSize / LEAST_PAGE);
      clean({ iova, end: iova + part }, LEAST_PAGE, memory, bitmap);
    }),
  "log-lost-by-step": (device) => {
    const log = logOf(device);
    const report = log.report.bind(log);
    onArc(device, (_from, _to, clean) => {
      if (log.on) clear(log, report);
      return clean();
    });
  },
  "log-first-range": (device) => {
    const log = logOf(device);
    let first: LoggedRange | undefined;
    override(log, "start", (clean) => (ranges, pageSize) => {
      first = ranges[0];
      return clean(ranges, pageSize);
    });
    override(log, "mark", (clean) => (iova, length) => {
      if (first !== undefined && iova >= first.iova && iova < first.end) clean(iova, length);
    });
  },
  "log-kept-by-close": (device) => {
    const closing = during(device, "close");
    override(logOf(device), "stop", (clean) => () => {
      if (!closing()) clean();
    });
  },
  "log-report-aligned": (device) =>
    override(
      logOf(device),
      "report",
      (clean) => ({ iova, end }, pageSize, memory, bitmap) =>
        clean({ iova: iova - iova % (64n * pageSize), end }, pageSize, memory, bitmap),
    ),
  "log-loses-pages": (device) =>
    override(logOf(device), "mark", (clean) => (iova, length) => {
      if (iova / LEAST_PAGE % LOST !== LOST - 1n) clean(iova, length);
    }),
} as const satisfies Record<string, Plant>;
