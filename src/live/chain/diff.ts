/**
 * What differs between two checkpoints.
 *
 * @module
 */

import { chunksOf } from "../../base/chunks.ts";
import { cleanlyAsync } from "../../base/cleanup.ts";
import { Ending } from "../../base/ending.ts";
import type { Transaction } from "../../checkpoint/batches/transaction.ts";
import { openCheckpointFile } from "../../checkpoint/file/open_checkpoint_file.ts";
import { CheckpointReader } from "../../checkpoint/format/checkpoint_reader.ts";
import { decodeCheckpoint } from "../../checkpoint/format/decode.ts";
import { FRAME_PAGE } from "../../checkpoint/frames/constants.ts";
import { compareData, type DataDifference, type DifferentTransaction } from "./data_difference.ts";
import { type DifferentRange, PageTable } from "./page_table.ts";

export type { DataDifference, DifferentRange, DifferentTransaction };

/** The files of a checkpoint: one, or a chain of them, the full one first. */
export interface CheckpointFiles {
  /** The files; a `VerifiedChain` has them. */
  readonly files: readonly string[];
}

/** What differs of one device. */
export interface DeviceDifference {
  /** Its number in both checkpoints. */
  readonly device: number;
  /** The ranges of its memory that differ. */
  readonly memory: readonly DifferentRange[];
  /** What differs of its own data. */
  readonly data: DataDifference;
}

/** What differs between two checkpoints. */
export interface CheckpointDifference {
  /** Whether nothing does. */
  readonly same: boolean;
  /** Each device that one of them holds. */
  readonly devices: readonly DeviceDifference[];
}

/**
 * Compares two checkpoints: memory by the hashes of its pages (128 bits of SHA-256), device data byte by
 * byte. It needs 17 bytes for each page of memory.
 *
 * @param options `signal` ends it.
 * @throws {CheckpointError} If a file is bad.
 * @throws {CheckpointFileError} If a file cannot be read.
 * @throws {RangeError} If one of them has more than 1 TiB of memory.
 *
 * @example
 * ```ts
 * import { CheckpointChain, diffCheckpoints, verifyChain } from "vfiokit/live";
 * import { openDevice } from "vfiokit";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const folder = fs.mkdtempSync("/tmp/vfiokit-");
 * await using device = await openDevice("sim:mlx5?size=64KiB", {
 *   maps: [{ iova: 0x100000n, size: 0x10000n }],
 *   tracker: "auto",
 * });
 * await using chain = new CheckpointChain(device, folder);
 * await chain.take();
 * await device.writeMemory(0x101000n, new Uint8Array(8192).fill(1));
 * await chain.take();
 * const { devices } = await diffCheckpoints(
 *   await verifyChain(folder, { number: 0 }),
 *   await verifyChain(folder, { number: 1 }),
 * );
 * assert.deepEqual(devices[0]!.memory, [{ iova: 0x101000n, size: 8192n, how: "differs" }]);
 * fs.rmSync(folder, { recursive: true });
 * ```
 */
export async function diffCheckpoints(
  first: CheckpointFiles,
  second: CheckpointFiles,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<CheckpointDifference> {
  const { signal } = options;
  const one = await readMemory(first.files, signal);
  const two = await readMemory(second.files, signal);
  const devices: DeviceDifference[] = [];
  for (let device = 0; device < Math.max(one.length, two.length); device++) {
    const memory = (one[device] ?? new PageTable()).differences(two[device] ?? new PageTable());
    const data = await compareData(
      transactionsOf(first.files.at(-1)!, device, signal),
      transactionsOf(second.files.at(-1)!, device, signal),
    );
    devices.push({ device, memory, data });
  }
  const same =
    devices.every(({ memory, data }) => memory.length === 0 && data.different.length === 0) &&
    one.length === two.length;
  return { same, devices };
}

/** The pages of each device, as the files leave them one after the other. */
async function readMemory(
  files: readonly string[],
  signal: AbortSignal | undefined,
): Promise<readonly PageTable[]> {
  const tables: PageTable[] = [];
  using ending = new Ending(signal);
  for (const file of files) {
    await cleanlyAsync(async () => {
      await using source = await openCheckpointFile(file);
      const reader = new CheckpointReader({
        discard: true,
        allocate: ({ type, bodyLength }) =>
          type === FRAME_PAGE ? new Uint8Array(new ArrayBuffer(bodyLength)) : null,
        pages: ({ device, entries, body }) => tableOf(tables, device).add(entries, body),
      });
      const chunks = chunksOf(source);
      try {
        for (;;) {
          const { done, value } = await ending.until(chunks.next());
          if (done) break;
          // Pages are taken as they come, and device data later.
          for (const _ of reader.push(value));
        }
        reader.end();
        tableOf(tables, reader.header!.devices.length - 1);
      } catch (error) {
        chunks.cancel(error);
        throw error;
      }
    });
  }
  return tables;
}

function tableOf(tables: PageTable[], device: number): PageTable {
  while (tables.length <= device) tables.push(new PageTable());
  return tables[device]!;
}

/** A device's transactions. */
async function* transactionsOf(
  file: string,
  device: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Transaction> {
  await using source = await openCheckpointFile(file);
  for await (const transaction of source.stream().pipeThrough(decodeCheckpoint())) {
    signal?.throwIfAborted();
    if (transaction.device === device) yield transaction;
  }
}
