/**
 * What is wrong with a folder of checkpoints.
 *
 * @module
 */

import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import { VfiokitError } from "../../base/vfiokit_error.ts";

/** The code for what is wrong with a chain of checkpoints. */
export type ChainErrorCode =
  /** There is no checkpoint of this number, or none at all, that nothing else needs. */
  | "no-checkpoint"
  /** A checkpoint that is needed is not there. */
  | "missing-link"
  /** A checkpoint that is needed is bad. */
  | "bad-link"
  /** A checkpoint that is needed was replaced by another one. */
  | "wrong-link";

/** The details of a {@linkcode ChainError}. */
export interface ChainErrorInfo {
  /** A stable word for what is wrong. */
  readonly code: ChainErrorCode;
  /** The folder. */
  readonly folder: string;
  /** The number of the last checkpoint that can be restored; null if there is none. */
  readonly lastGood: number | null;
}

/**
 * A chain of checkpoints that cannot be used: what is wrong with it, and which of its checkpoints can
 * be restored. No device was touched.
 *
 * @example
 * ```ts
 * import { ChainError, verifyChain } from "vfiokit/live";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const folder = fs.mkdtempSync("/tmp/vfiokit-");
 * await assert.rejects(
 *   verifyChain(folder),
 *   (error: ChainError) => error.code === "no-checkpoint" && error.lastGood === null,
 * );
 * fs.rmSync(folder, { recursive: true });
 * ```
 */
export class ChainError extends VfiokitError implements ChainErrorInfo {
  static {
    registerErrorClass(this);
  }

  /** Always `ChainError`. */
  override readonly name = "ChainError";
  /** A stable word for what is wrong. */
  readonly code: ChainErrorCode;
  /** The folder. */
  readonly folder: string;
  /** The number of the last checkpoint that can be restored; null if there is none. */
  readonly lastGood: number | null;

  /** Makes the error; `what` is a clause. */
  constructor(what: string, info: ChainErrorInfo, options?: ErrorOptions) {
    const { lastGood } = info;
    const last = lastGood === null
      ? "none can be restored"
      : `the last that can be restored is ${lastGood}`;
    super(printable(`Cannot use the checkpoints of "${info.folder}": ${what}; ${last}`), options);
    this.code = info.code;
    this.folder = info.folder;
    this.lastGood = lastGood;
  }
}
