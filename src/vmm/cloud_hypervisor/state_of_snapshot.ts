/**
 * The state of VFIO devices in a snapshot of cloud-hypervisor's, as transactions of a checkpoint.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { setImmediate } from "node:timers/promises";
import { BATCH_BYTES, takeBuffer } from "../../checkpoint/batches/buffer_pool.ts";
import type { Transaction } from "../../checkpoint/batches/transaction.ts";
import { type FilePlace, readWhole } from "../read_whole.ts";
import { VmmFileError } from "../vmm_file_error.ts";
import type { CloudHypervisorDevice } from "./read_snapshot.ts";

/** Bytes of base64 that fit in a batch once they are decoded. */
const PIECE = Math.floor(BATCH_BYTES / 3) * 4;

/** After so many pieces the event loop has its turn. */
const TURN = 4;

/**
 * The state of devices in a `state.json` that `readCloudHypervisorSnapshot` has read, in order.
 * cloud-hypervisor keeps all that it read of a device as one; here each piece of up to a MiB is a
 * transaction of stop-and-copy, as a read of the device would have been.
 *
 * @param fd The file, which can be read at any position.
 * @param devices Devices of the snapshot that have state; their places here are their numbers in
 * the checkpoint.
 * @throws {VmmFileError} `truncated` or `damaged` if the file was changed since it was read.
 */
export async function* stateOfSnapshot(
  fd: number,
  devices: readonly Pick<CloudHypervisorDevice, "name" | "blob">[],
): AsyncGenerator<Transaction> {
  const text = Buffer.allocUnsafe(PIECE);
  let pieces = 0;
  for (const [device, { name, blob }] of devices.entries()) {
    const { offset, length } = blob!;
    for (let at = 0; at < length; at += PIECE) {
      const piece = text.subarray(0, Math.min(PIECE, length - at));
      const place = { name, offset: offset + at };
      readWhole(fd, piece, place);
      const data = decoded(piece, place);
      yield { device, phase: "stop-and-copy", data, more: false };
      if (++pieces % TURN === 0) await setImmediate();
    }
  }
}

function decoded(base64: Buffer, { name, offset }: FilePlace): Uint8Array<ArrayBuffer> {
  const data = takeBuffer();
  const text = base64.toString("latin1");
  // White space would be passed over.
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  try {
    const { written } = data.setFromBase64(text, { lastChunkHandling: "strict" });
    if (written === text.length / 4 * 3 - padding) return data.subarray(0, written);
  } catch {
    // What is no base64: see below.
  }
  throw new VmmFileError("damaged", offset, `${name} was changed while it was read`);
}
