/**
 * What can be wrong with a checkpoint.
 *
 * @module
 */

import { VfiokitError } from "../base/vfiokit_error.ts";
import { registerErrorClass } from "../base/error_transfer.ts";
import { printable } from "../base/printable.ts";
import { isLost, type Recovery } from "../vfio/state/recovery.ts";
import type { StateName } from "../vfio/state/states.ts";
import type { DriverNote } from "../vfio/notes/driver_notes.ts";

/** A stable word for what is wrong with a checkpoint. */
export type CheckpointErrorCode =
  /** There are no bytes at all. */
  | "empty"
  /** The first bytes are not a checkpoint's. */
  | "not-a-checkpoint"
  /** A later version of the format, or one that never was. */
  | "version"
  /** It ends before its trailer does. */
  | "truncated"
  /** A CRC differs: bytes were changed. */
  | "crc"
  /** A frame is missing, repeated, in the wrong place, or of another checkpoint. */
  | "order"
  /** A length beyond what the format allows. */
  | "length"
  /** A frame whose CRC is right but whose content makes no sense. */
  | "frame"
  /** A frame that this version has to know and does not. */
  | "unknown-frame"
  /** The header makes no sense. */
  | "header"
  /** A frame that does not decompress to what it declares. */
  | "compression"
  /** The trailer does not fit what came before it. */
  | "trailer"
  /** The content's digest differs. */
  | "digest"
  /** There is something after the trailer. */
  | "trailing"
  /** It was written by the pre-copy phase alone, and more was asked for. */
  | "incomplete";

/**
 * A checkpoint that cannot be trusted: what is wrong, and where.
 *
 * @example
 * ```ts
 * import { CheckpointError } from "@vfiokit/vfiokit";
 * import assert from "node:assert/strict";
 *
 * const error = new CheckpointError("crc", 4096, "frame 2 has a wrong CRC");
 * assert.equal(error.message, "Cannot read the checkpoint: frame 2 has a wrong CRC (at byte 4096)");
 * ```
 */
export class CheckpointError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `CheckpointError`. */
  override readonly name = "CheckpointError";
  /** What is wrong, as a stable word. */
  readonly code: CheckpointErrorCode;
  /** What is wrong and where, as a clause: `frame 2 has a wrong CRC (at byte 4096)`. */
  readonly problem: string;
  /** Where, in bytes from the start: that of the frame, or of the first byte too many or missing. */
  readonly offset: number;
  /** The state of the device that had to be brought back on its account; null where none had to. */
  deviceState: StateName | null = null;
  /** What was done about that device; null where nothing had to be. */
  recovery: Recovery | null = null;
  /** What that device's driver did against the rules. */
  notes: readonly DriverNote[] = [];

  /** Makes the error; `what` is the state in words, without a final period. */
  constructor(code: CheckpointErrorCode, offset: number, what: string, options?: ErrorOptions) {
    super(printable(`Cannot read the checkpoint: ${what} (at byte ${offset})`), options);
    this.code = code;
    this.problem = printable(`${what} (at byte ${offset})`);
    this.offset = offset;
  }

  /** Whether only a reset leads that device on. */
  get lost(): boolean {
    return this.deviceState !== null && isLost(this.deviceState, this.recovery ?? "none");
  }
}
