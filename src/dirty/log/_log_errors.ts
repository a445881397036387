/**
 * Errors of a device's log.
 */

import type { Hint } from "../../base/vfiokit_error.ts";
import { isErrno, SysError } from "../../kernel/sys_error.ts";
import { AnswerError } from "../../vfio/device/answer_error.ts";
import { DmaError } from "../../vfio/dma/dma_error.ts";
import { DMA_LOGGING_START } from "../../vfio/device/feature.ts";
import { formatIova, type IovaMapping } from "../../vfio/dma/iova.ts";
import { deviceLogRefused, noDeviceLog } from "../../vfio/reasons/tracking_reasons.ts";
import { UnsupportedError } from "../../vfio/reasons/unsupported_error.ts";
import { DirtyRangeError } from "../range_error.ts";
import { reachesEnd } from "./_log_ranges.ts";

/** What an errno means, and what to do about it. */
type Meaning = readonly [why: string, hint: Hint | string];

/** A hint to which is added that the device's IOMMU may track instead. */
function orType1(text: string): Hint {
  return { text, remedy: "track-by-type1" };
}

const IOMMU: Hint = orType1("Let its IOMMU track it");
const GONE: Meaning = [
  "the device is gone, or its firmware does not answer",
  "See the kernel's log; a reset may bring it back",
];
const FIRMWARE: Meaning = [
  "its firmware failed at it",
  orType1("See the kernel's log and reset the device"),
];

/**
 * What START, STOP and REPORT of a device's log may answer, except ENOTTY and EOPNOTSUPP, which
 * mean that there is none. Source: vfio_ioctl_device_feature_logging_start() and its neighbours in
 * drivers/vfio/vfio_main.c, and the log_start, log_stop and log_read_and_clear of mlx5, pds and
 * iommufd's walk (iova_bitmap.c), in Linux 6.12 and 6.19. EEXIST and EBUSY come from drivers that
 * do not use EINVAL for a log that is already on.
 */
const MEANINGS: Readonly<Record<"start" | "stop" | "report", Readonly<Record<string, Meaning>>>> = {
  start: {
    EINVAL: [
      "it has been started already by somebody who has this device open, or takes no such ranges",
      orType1("See that nobody else logs the device, and reset it if nobody does"),
    ],
    EEXIST: ["it was left on", orType1("Reset the device, which turns it off")],
    EBUSY: [
      "it was left on, or the device is busy with a migration",
      orType1("Reset the device, which turns it off"),
    ],
    ENOMEM: [
      "there is no memory for it; some drivers have one bitmap from the lowest range to the " +
      "highest, however far apart they are",
      orType1("Map the ranges closer together"),
    ],
    ENOSPC: ["the device has no room for it", orType1("Map fewer ranges")],
    E2BIG: ["it does not take so many ranges", orType1("Map fewer and larger ranges")],
    ERANGE: ["it does not reach as far as this memory", orType1("Map it at lower addresses")],
    EOVERFLOW: ["a range reaches beyond 2^64", "Map it lower"],
    EFAULT: ["the kernel could not read the ranges", "This is a mistake of this toolkit"],
    EIO: FIRMWARE,
    ETIMEDOUT: FIRMWARE,
    EAGAIN: ["the device is not ready for it", "Try again in a while"],
    ENODEV: GONE,
    ENOTCONN: GONE,
    ENXIO: GONE,
  },
  stop: {
    EINVAL: ["it is not on: somebody else has stopped it, or reset the device", ""],
    EBUSY: ["the device is busy", "Reset the device, which turns it off"],
    EIO: FIRMWARE,
    ETIMEDOUT: FIRMWARE,
    ENODEV: GONE,
    ENOTCONN: GONE,
    ENXIO: GONE,
  },
  report: {
    EIO: [
      "the device has lost its log, and has nothing to report until it is started again",
      IOMMU,
    ],
    EOPNOTSUPP: [
      "the kernel cannot report it, as where it is built without CONFIG_IOMMUFD",
      IOMMU,
    ],
    EINVAL: [
      "it is not on any more, as after a reset by somebody else, or takes no such range",
      "Start it again",
    ],
    ENOMEM: ["there is no memory for its bitmap", ""],
    EFAULT: ["its bitmap cannot be written", ""],
    EBUSY: ["the device is busy", "Try again in a while"],
    EAGAIN: [
      "the device is not ready",
      "Try again in a while",
    ],
    ETIMEDOUT: ["its firmware does not answer", FIRMWARE[1]],
    ENODEV: GONE,
    ENOTCONN: GONE,
    ENXIO: GONE,
  },
};

function explained(
  request: keyof typeof MEANINGS,
  what: string,
  error: SysError,
  byDefault: string,
): DmaError {
  const table = MEANINGS[request];
  const [why, hint] = Object.hasOwn(table, error.code) ? table[error.code]! : [byDefault, ""];
  return new DmaError(what, why, hint, error);
}

/** The error for a log that does not start. */
export function startError(error: unknown): unknown {
  const options = { cause: error };
  if (isErrno(error, "ENOTTY")) {
    return new UnsupportedError([noDeviceLog(DMA_LOGGING_START.name, error.code)], options);
  }
  if (isErrno(error, "EOPNOTSUPP")) {
    return new UnsupportedError([deviceLogRefused(error.code)], options);
  }
  if (!(error instanceof SysError)) return error;
  return explained("start", "Cannot start the device's log", error, "the driver refuses");
}

/** The error for a log that does not stop. */
export function stopError(error: unknown): unknown {
  if (!(error instanceof SysError)) return error;
  return explained("stop", "Cannot stop the device's log", error, "the driver refuses");
}

/**
 * Checks that a mapping was unmapped as a whole.
 *
 * @throws {AnswerError} If it was not.
 */
export function checkUnmapped(mapping: IovaMapping, unmapped: bigint): void {
  if (unmapped === mapping.size) return;
  throw new AnswerError(
    `Cannot tell what is dirty in ${formatIova(mapping)}: the kernel unmapped ` +
      `${unmapped} of its ${mapping.size} bytes`,
    "unmapped bytes",
  );
}

/**
 * The error for a mapping that is in no range of the log; `report` is the range that a report would
 * have.
 */
export function notLogged(mapping: IovaMapping, report: IovaMapping): Error {
  const why = reachesEnd(report)
    ? "a log takes no range that ends at 2^64"
    : "it was mapped after the log had been started";
  return new DirtyRangeError(`Cannot read the device's log of ${formatIova(mapping)}: ${why}`);
}

/** The error for a failed report. */
export function reportError(mapping: IovaMapping, error: unknown): Error {
  if (!(error instanceof SysError)) {
    return error instanceof Error ? error : new Error(String(error));
  }
  const what = `Cannot read the device's log of ${formatIova(mapping)}`;
  return explained("report", what, error, "the driver refuses");
}
