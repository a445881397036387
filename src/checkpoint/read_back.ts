/**
 * Reads back what a save has written, before the file appears.
 *
 * @module
 */

import { type Hint, VfiokitError } from "../base/vfiokit_error.ts";
import { registerErrorClass } from "../base/error_transfer.ts";
import type { DeviceTotals } from "./metadata/trailer.ts";
import type { CheckpointSummary } from "./verify.ts";

/** The result of reading a checkpoint back. */
export interface ReadBackReport {
  /** Whether it was read to the end and is good. */
  readonly done: boolean;
  /** How long it took, whether or not it succeeded; null if it was not started. */
  readonly seconds: number | null;
  /** Why it was not done; null if it was. */
  readonly reason:
    /** The caller of the save switched it off. */
    | "not-wanted"
    /** The target cannot be read: a pipe, a device, a custom sink. */
    | "not-a-file"
    /** The save had failed before. */
    | "not-reached"
    /** The file differs from what was written, or could not be read. */
    | "bad"
    /** The signal was aborted meanwhile. */
    | "interrupted"
    | null;
}

/** The progress of reading back. */
export interface ReadBackProgress {
  /** Bytes read so far. */
  readonly bytes: number;
  /** Total bytes; 0 until known. */
  readonly total: number;
}

/**
 * The content of a file that has not appeared yet, as the kernel has it. It may come from memory,
 * so this does not check the medium.
 */
export interface ReadBack {
  /**
   * Syncs the file: after the stream has closed, and before it is read.
   *
   * @throws {CheckpointFileError} With the errno's name, such as ENOSPC.
   */
  sync(): Promise<void>;
  /**
   * Reads all of it and checks it as `verifyCheckpoint` does. Memory stays at a
   * few MiB, and the event loop has its turn at each MiB.
   *
   * @param moved What each device gave: the expected totals.
   * @param signal Ends it.
   * @throws {ReadBackError} If the file is bad, or the signal is aborted; then the file is removed.
   */
  run(moved: readonly DeviceTotals[], signal?: AbortSignal): Promise<CheckpointSummary>;
  /** The progress; null before it is started. */
  readonly progress: ReadBackProgress | null;
  /** The result so far. */
  readonly report: ReadBackReport;
}

/** The details of a {@linkcode ReadBackError}. */
export interface ReadBackErrorInfo {
  /** A stable word: whether the file is bad, or it was interrupted. */
  readonly code: "read-back" | "cancelled";
  /** The file, as it was named. */
  readonly path: string;
  /** The errno's name if it could not be read. */
  readonly errno?: string | undefined;
  /** What to do next. */
  readonly hint?: Hint | string | null | undefined;
}

/**
 * A checkpoint that was written but could not be read back, so that no file was left. The cause
 * says what was wrong.
 *
 * @example
 * ```ts
 * import { CheckpointError, ReadBackError } from "vfiokit";
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
  /** The errno's name if it could not be read. */
  readonly errno: string | undefined;

  /** Makes the error. */
  constructor(message: string, info: ReadBackErrorInfo, options?: ErrorOptions) {
    super(message, options, info.hint);
    this.code = info.code;
    this.path = info.path;
    this.errno = info.errno;
  }
}
