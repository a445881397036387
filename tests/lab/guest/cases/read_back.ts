/**
 * A save that is read back: the driver's own word is that the device runs
 * meanwhile, and a file that is bad is not left.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import type {
  CheckpointFile,
  CheckpointSummary,
  ReadBackProgress,
  ReadBackReport,
} from "../../../../src/checkpoint/mod.ts";
import {
  type CheckpointSink,
  createCheckpointFile,
  openCheckpointFile,
  openDevice,
  ReadBackError,
  save,
  TransferError,
  verifyCheckpoint,
} from "../../../../mod.ts";
import { libcKernel } from "../../../../src/kernel/libc/libc_kernel.ts";
import { type DeviceType, lacks, type Settings, withDevice } from "../device.ts";
import type { Case } from "../harness.ts";

const SMALL: Settings = { size: 1 << 20, chunk: 64 << 10 };

/** The types, with RUNNING as their driver's device_state has it. */
const RUNNING: readonly (readonly [DeviceType, number])[] = [
  ["trapped", 1],
  ["mapped", 1],
  ["v2", 2],
  ["v2-full", 2],
];

/** The file as a sink, with something done right before it is read back. */
function before(file: CheckpointFile, reading: () => void): CheckpointSink {
  const readBack = file.readBack!;
  return {
    path: file.path,
    fd: file.fd,
    writable: file.writable,
    commit: () => file.commit(),
    abort: () => file.abort(),
    readBack: {
      sync: () => readBack.sync(),
      run(moved, signal): Promise<CheckpointSummary> {
        reading();
        return readBack.run(moved, signal);
      },
      get progress(): ReadBackProgress | null {
        return readBack.progress;
      },
      get report(): ReadBackReport {
        return readBack.report;
      },
    },
  };
}

/** The cases. */
export const cases: readonly Case[] = RUNNING.flatMap(([type, running]): Case[] => [
  {
    name: `read back: ${type}: the device runs while its file is read, which appears after it`,
    lacks: () => lacks(type),
    run: (folder) =>
      withDevice(type, SMALL, async (guest) => {
        const path = `${folder}/checkpoint`;
        await using device = await openDevice(guest.uuid, { kernel: libcKernel() });
        await using file = await createCheckpointFile(path);
        const seen: unknown[] = [];
        const report = await save(
          device,
          before(file, () => seen.push(guest.state, readdirSync(folder).includes("checkpoint"))),
        );
        assert.deepEqual(seen, [running, false]);
        assert.deepEqual([report.state, guest.state], ["running", running]);
        assert.equal(report.readBack.done, true);
        await using source = await openCheckpointFile(path);
        assert.equal((await verifyCheckpoint(source.stream())).trailer.bytes, report.bytes);
      }),
  },
  {
    name: `read back: ${type}: a file that is bad is not left, and the device runs on`,
    lacks: () => lacks(type),
    run: (folder) =>
      withDevice(type, SMALL, async (guest) => {
        await using device = await openDevice(guest.uuid, { kernel: libcKernel() });
        await using file = await createCheckpointFile(`${folder}/checkpoint`);
        const spoil = (): void => {
          const partial = `${folder}/${readdirSync(folder)[0]}`;
          const bytes = readFileSync(partial);
          bytes[bytes.length >> 1]! ^= 1;
          writeFileSync(partial, bytes);
        };
        await assert.rejects(save(device, before(file, spoil)), (error) => {
          assert.ok(error instanceof TransferError);
          assert.deepEqual([error.code, error.devices[0]!.state], ["read-back", "running"]);
          assert.ok(error.cause instanceof ReadBackError);
          return true;
        });
        assert.deepEqual(readdirSync(folder), []);
        assert.equal(guest.state, running);
      }),
  },
]);
