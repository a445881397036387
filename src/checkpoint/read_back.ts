/**
 * Reading back what a save has written, before it appears.
 *
 * @module
 */

import { type Hint, VfiokitError } from "../base/vfiokit_error.ts";
import { registerErrorClass } from "../base/error_transfer.ts";
import type { DeviceTotals } from "./metadata/trailer.ts";
import type { CheckpointSummary } from "./verify.ts";

/** How the reading back of a checkpoint went. */
export interface ReadBackReport {
  /** Whether it was read to its end, and is good. */
  readonly done: boolean;
  /** How long that took, to whatever end; null where it was not begun. */
  readonly seconds: number | null;
  /** Why it was not done; null where it was. */
  readonly reason:
    /** The save was told not to. */
    | "not-wanted"
    /** What is written to keeps nothing that could be read: a pipe, a device, a sink of one's own. */
    | "not-a-file"
    /** The save failed before. */
    | "not-reached"
    /** What was read is not what was written, or it could not be read. */
    | "bad"
    /** The signal came meanwhile. */
    | "interrupted"
    | null;
}

/** Where the reading back of a checkpoint is. */
export interface ReadBackProgress {
  /** Bytes read so far. */
  readonly bytes: number;
  /** Bytes in all; 0 until that is known. */
  readonly total: number;
}

/**
 * What was written to a file that has not appeared yet. It is read from the
 * file, which shows what the kernel has of it; that may be in memory, and says
 * nothing of the medium.
 */
export interface ReadBack {
  /**
   * Syncs what was written: once the stream has closed, and before it is read.
   *
   * @throws {CheckpointFileError} With the errno's name, such as ENOSPC.
   */
  sync(): Promise<void>;
  /**
   * Reads all of it and checks it as `verifyCheckpoint` does. Memory stays at a
   * few MiB, and the event loop has its turn at each MiB.
   *
   * @param moved What each device gave, which is what must be there.
   * @param signal Ends it.
   * @throws {ReadBackError} If it is bad, or at the signal; the file is given up then.
   */
  run(moved: readonly DeviceTotals[], signal?: AbortSignal): Promise<CheckpointSummary>;
  /** Where it is; null before it is begun. */
  readonly progress: ReadBackProgress | null;
  /** How it went so far. */
  readonly report: ReadBackReport;
}

/** What a {@linkcode ReadBackError} knows. */
export interface ReadBackErrorInfo {
  /** A stable word: whether the file is bad, or it was interrupted. */
  readonly code: "read-back" | "cancelled";
  /** The file, as it was named. */
  readonly path: string;
  /** The errno's name where it could not be read. */
  readonly errno?: string | undefined;
  /** What to do next. */
  readonly hint?: Hint | string | null | undefined;
}

/**
 * A checkpoint that was written and could not be read back: no file was left.
 * Its cause says what was found.
 *
 * @example
 * ```ts
 * import { CheckpointError, ReadBackError } from "@vfiokit/vfiokit";
 * import assert from "node:assert/strict";
 *
 * const found = new CheckpointError("crc", 4096, "frame 2 has a wrong CRC");
 * const error = new ReadBackError(
 *   'Cannot read back "a.vfk": frame 2 has a wrong CRC (at byte 4096); no file was left',
 *   { code: "read-back", path: "a.vfk" },
 *   { cause: found },
 * );
 * assert.equal(error.code, "read-back");
 * ```
 */
export class ReadBackError extends VfiokitError implements ReadBackErrorInfo {
  static {
    registerErrorClass(this);
  }

  /** Always `ReadBackError`. */
  override readonly name = "ReadBackError";
  /** A stable word: whether the file is bad, or it was interrupted. */
  readonly code: "read-back" | "cancelled";
  /** The file, as it was named. */
  readonly path: string;
  /** The errno's name where it could not be read. */
  readonly errno: string | undefined;

  /** Makes the error. */
  constructor(message: string, info: ReadBackErrorInfo, options?: ErrorOptions) {
    super(message, options, info.hint);
    this.code = info.code;
    this.path = info.path;
    this.errno = info.errno;
  }
}
