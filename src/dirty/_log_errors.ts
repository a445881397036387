/**
 * What went wrong with a device's log, in words.
 */

import { isErrno, SysError } from "../kernel/error.ts";
import { DmaError } from "../vfio/dma_error.ts";
import { DMA_LOGGING_START } from "../vfio/feature.ts";
import { formatIova, type IovaMapping } from "../vfio/iova.ts";
import { deviceLogRefused, noDeviceLog } from "../vfio/tracking_reasons.ts";
import { UnsupportedError } from "../vfio/unsupported.ts";
import { reachesEnd } from "./_log_ranges.ts";

/** A log that does not start. */
export function startError(error: unknown): unknown {
  const options = { cause: error };
  if (isErrno(error, "ENOTTY")) {
    return new UnsupportedError([noDeviceLog(DMA_LOGGING_START.name, error.code)], options);
  }
  if (isErrno(error, "EOPNOTSUPP")) {
    return new UnsupportedError([deviceLogRefused(error.code)], options);
  }
  if (!isErrno(error, "EINVAL")) return error;
  return new DmaError(
    "Cannot start the device's log",
    "it has been started already by somebody who has this device open, or takes no such ranges",
    "See that nobody else logs the device, or let its IOMMU track it: --tracker type1",
    error,
  );
}

/**
 * Sees that a mapping was unmapped as a whole.
 *
 * @throws {Error} If it was not.
 */
export function checkUnmapped(mapping: IovaMapping, unmapped: bigint): void {
  if (unmapped === mapping.size) return;
  throw new Error(
    `Cannot tell what is dirty in ${formatIova(mapping)}: the kernel unmapped ` +
      `${unmapped} of its ${mapping.size} bytes`,
  );
}

/** A mapping that no range of the log has in it; `report` is what would be asked for. */
export function notLogged(mapping: IovaMapping, report: IovaMapping): Error {
  const why = reachesEnd(report)
    ? "a log takes no range that ends at 2^64"
    : "it was mapped after the log had been started";
  return new Error(`Cannot read the device's log of ${formatIova(mapping)}: ${why}`);
}

/** A report that failed. */
export function reportError(mapping: IovaMapping, error: unknown): Error {
  if (!(error instanceof SysError)) {
    return error instanceof Error ? error : new Error(String(error));
  }
  const what = `Cannot read the device's log of ${formatIova(mapping)}`;
  const hint = "Let its IOMMU track it: --tracker type1";
  if (isErrno(error, "EIO")) {
    const why = "the device has lost its log, and all pages count as dirty from now on";
    return new DmaError(what, why, hint, error);
  }
  if (isErrno(error, "EOPNOTSUPP")) {
    const why = "the kernel cannot report it, as where it is built without CONFIG_IOMMUFD, and " +
      "all of its pages count as dirty";
    return new DmaError(what, why, hint, error);
  }
  return new DmaError(what, "all of its pages count as dirty", "", error);
}
