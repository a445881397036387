/**
 * The state of VFIO devices in a QEMU stream's file, as transactions of a checkpoint.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";
import { BATCH_BYTES, takeBuffer } from "../../checkpoint/batches/buffer_pool.ts";
import type { Transaction } from "../../checkpoint/batches/transaction.ts";
import { readWhole } from "../read_whole.ts";
import type { QemuDevice, QemuStream } from "./read_stream.ts";

/** After so many pieces of a MiB the event loop has its turn. */
const TURN = 4;

/**
 * The state of devices in a file that {@linkcode readQemuStream} has read, in order: each piece
 * that QEMU wrote is one transaction, and what QEMU read while the device ran is of pre-copy.
 *
 * @param fd The file, which can be read at any position.
 * @param devices Devices of the stream; their places here are their numbers in the checkpoint.
 * @throws {VmmFileError} `truncated` if the file has become shorter since it was read.
 */
export async function* stateOfDevices(
  fd: number,
  devices: readonly QemuDevice[],
): AsyncGenerator<Transaction> {
  let pieces = 0;
  for (const [device, { name, records }] of devices.entries()) {
    for (const { offset, length, precopy } of records) {
      for (let at = 0; at < length;) {
        const data = takeBuffer().subarray(0, Math.min(BATCH_BYTES, length - at));
        readWhole(fd, data, { name, offset: offset + at });
        at += data.length;
        yield {
          device,
          phase: precopy ? "pre-copy" : "stop-and-copy",
          data,
          more: at < length,
        };
        if (++pieces % TURN === 0) await setImmediate();
      }
    }
  }
}

/**
 * The protocol that a stream's devices spoke: QEMU speaks v2 from 8.0 on, and spoke v1 before. Null
 * if the machine type leaves both possible, as a machine type of QEMU 7.2 does.
 *
 * @example
 * ```ts
 * import { protocolOfMachine } from "vfiokit/vmm";
 * import assert from "node:assert/strict";
 *
 * assert.equal(protocolOfMachine("pc-q35-10.0"), "v2");
 * assert.equal(protocolOfMachine("pc-q35-7.2"), null);
 * ```
 */
export function protocolOfMachine(machine: QemuStream["machine"]): "v2" | null {
  const version = /-(\d+)\.\d+$/.exec(machine ?? "");
  return version !== null && Number(version[1]) >= 8 ? "v2" : null;
}
