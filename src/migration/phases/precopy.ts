/**
 * The pre-copy phase: the device runs while its state is read.
 *
 * @module
 */

import { precopyLimits } from "../protocol/limits.ts";
import { phaseSource } from "./_transaction_source.ts";
import type { Device } from "../device.ts";
import type { Transaction } from "../types.ts";

/** When pre-copy ends: at the first of these, or when nothing is pending. */
export interface PrecopyOptions {
  /** No more bytes than this are pending. Default 0. */
  readonly threshold?: number | undefined;
  /**
   * What stop-and-copy has to read then, by the driver's estimate, takes no longer than this many
   * milliseconds at the rate of pre-copy so far. Default: no such limit.
   */
  readonly downtimeMs?: number | undefined;
  /** So many rounds; a round ends when as many bytes were read as were pending at its start. Default 30. */
  readonly maxRounds?: number | undefined;
  /** So many milliseconds. Default: no limit. */
  readonly maxTimeMs?: number | undefined;
}

export { DEFAULT_MAX_ROUNDS } from "../protocol/limits.ts";

/**
 * Reads the device's state while it runs (v1: 001b to 011b; v2: PRE_COPY). It
 * ends with nothing pending, below the threshold or within the downtime (v2:
 * once initial_bytes is 0), after two rounds in a row that did not shrink what
 * is pending, or at a limit; the device then is still in pre-copy, for
 * {@linkcode stopAndCopy} to go on.
 *
 * Cancelling the stream brings the device back to RUNNING; so does a failure.
 *
 * @throws {MigrationError} Through the stream, with the device's state.
 *
 * @example
 * ```ts
 * import { openDevice } from "../device.ts";
 * import { precopy } from "./precopy.ts";
 * import assert from "node:assert/strict";
 *
 * await using device = await openDevice("sim:mapped?size=1MiB");
 * let bytes = 0;
 * for await (const transaction of precopy(device)) bytes += transaction.data.length;
 * assert.ok(bytes >= 1 << 20);
 * assert.equal((await device.state()).state, "pre-copy");
 * ```
 */
export function precopy(
  device: Device,
  options: PrecopyOptions = {},
): ReadableStream<Transaction> {
  return phaseSource(device, "pre-copy", precopyLimits(options));
}
