/**
 * The stop-and-copy phase: stops the device and reads the rest of its state.
 *
 * @module
 */

import { NO_LIMITS } from "../protocol/precopy_limits.ts";
import { phaseSource } from "./_transaction_source.ts";
import type { Device } from "../device.ts";
import type { Transaction } from "../../checkpoint/batches/transaction.ts";

/**
 * Stops the device and reads its state until nothing is pending (v1: 001b or
 * 011b to 010b, and then to 000b). At the end the device is stopped.
 *
 * Cancelling the stream brings the device back to RUNNING; so does a failure.
 *
 * @throws {MigrationError} Through the stream, with the device's state.
 *
 * @example
 * ```ts
 * import { openDevice, stopAndCopy } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * await using device = await openDevice("sim:trapped?size=1MiB");
 * for await (const transaction of stopAndCopy(device)) {
 *   assert.equal(transaction.phase, "stop-and-copy");
 * }
 * assert.equal((await device.state()).state, "stop");
 * ```
 */
export function stopAndCopy(device: Device): ReadableStream<Transaction> {
  return phaseSource(device, "stop-and-copy", NO_LIMITS);
}
