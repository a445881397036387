/**
 * How readings of dirty pages are posted from the device's thread: bitmaps as buffers, errors with
 * their class.
 */

import { packError, type TransferredError, unpackError } from "../../base/error_transfer.ts";
import { DirtyBitmap, DirtyReading, type TrackingVerdict } from "../../dirty/mod.ts";
import type { DirtyRange, UnmapReading } from "../../dirty/mod.ts";

interface PostedRange {
  readonly iova: bigint;
  readonly size: bigint;
  readonly pgsize: number;
  readonly bits: ArrayBuffer;
  readonly pinned: ArrayBuffer | null;
  readonly lost: TransferredError | null;
}

/** A reading, taken apart. */
export interface PostedReading {
  readonly ranges: readonly PostedRange[];
  readonly verdict: TrackingVerdict;
}

/** A reading of unmapped pages, taken apart. */
export interface PostedUnmapReading {
  readonly reading: PostedReading;
  readonly unmapped: bigint;
  readonly error: TransferredError | null;
}

/** Takes a reading apart. */
export function packReading({ ranges, verdict }: DirtyReading): PostedReading {
  return {
    ranges: ranges.map(({ bitmap, pinned, lost }) => ({
      iova: bitmap.iova,
      size: bitmap.size,
      pgsize: bitmap.pgsize,
      bits: bitmap.toBytes().buffer,
      pinned: pinned === null ? null : pinned.toBytes().buffer,
      lost: lost === null ? null : packError(lost),
    })),
    verdict,
  };
}

/** Puts a reading together again. */
export function unpackReading({ ranges, verdict }: PostedReading): DirtyReading {
  return new DirtyReading(
    ranges.map(({ bits, pinned, lost, ...range }): DirtyRange => ({
      bitmap: DirtyBitmap.over(range, new Uint8Array(bits)),
      pinned: pinned === null ? null : DirtyBitmap.over(range, new Uint8Array(pinned)),
      lost: lost === null ? null : unpackError(lost),
    })),
    verdict,
  );
}

/** Takes the reading of unmapped pages apart. */
export function packUnmapReading({ reading, unmapped, error }: UnmapReading): PostedUnmapReading {
  return {
    reading: packReading(reading),
    unmapped,
    error: error === null ? null : packError(error),
  };
}

/** Puts the reading of unmapped pages together again. */
export function unpackUnmapReading(
  { reading, unmapped, error }: PostedUnmapReading,
): UnmapReading {
  return {
    reading: unpackReading(reading),
    unmapped,
    error: error === null ? null : unpackError(error),
  };
}
