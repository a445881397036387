/**
 * The pre-copy phase: the device runs while its state is read.
 *
 * @module
 */

import { precopyLimits, type PrecopyOptions } from "../protocol/precopy_limits.ts";
import { phaseSource } from "./_transaction_source.ts";
import type { Device } from "../device.ts";
import type { Transaction } from "../../checkpoint/batches/transaction.ts";

/**
 * Reads the device's state while it runs (v1: 001b to 011b; v2: PRE_COPY). It ends when nothing is
 * pending, when the pending bytes are within the threshold or the downtime (v2: once initial_bytes
 * is 0), after two consecutive rounds without fewer pending bytes, or at a limit. The device is
 * then still in pre-copy, and {@linkcode stopAndCopy} continues from there.
 *
 * Cancelling the stream brings the device back to RUNNING; so does a failure.
 *
 * @throws {MigrationError} Through the stream, with the device's state.
 *
 * @example
 * ```ts
 * import { openDevice, precopy } from "vfiokit";
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
