/**
 * Each thing that can be done to a device, on a kernel of a test's: small
 * states, so that thousands of runs are quick.
 */

import assert from "node:assert/strict";
import {
  type CheckpointSink,
  openDevice,
  probe,
  restore,
  type RestoreSource,
  save,
} from "../../mod.ts";
import { DirtySession } from "../../src/dirty/mod.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";

/** Something that is done to the first device of a kernel, by its `path`. */
export interface Operation {
  /** Its name, for tests. */
  readonly name: string;
  /** The simulated device that it is done to. */
  readonly spec: string;
  /** Does it, from opening to closing. */
  run(kernel: Kernel, path: string): Promise<void>;
}

const MAP = [{ iova: 0x100000n, size: 0x10000n }, { iova: 0x200000n, size: 0x4000n }];

async function probed(kernel: Kernel, path: string): Promise<void> {
  // What is found is told to a person or a program: it must be possible to write it down.
  const report = probe(path, { kernel });
  JSON.stringify(report, (_key, value) => typeof value === "bigint" ? String(value) : value);
  await Promise.resolve();
}

async function tracked(kernel: Kernel, path: string): Promise<void> {
  using session = DirtySession.open(path, { kernel, maps: MAP });
  session.tracker.start();
  session.tracker.read();
  const { lost } = session.tracker.read({ twice: true });
  session.tracker.unmapWithDirty(MAP[1]!.iova, MAP[1]!.size);
  session.tracker.stop();
  await Promise.resolve();
  // What could not be read is told in the reading, with its error.
  for (const range of lost) if (range.lost !== null) throw range.lost;
}

async function mapped(kernel: Kernel, path: string): Promise<void> {
  using session = DirtySession.open(path, { kernel, maps: MAP });
  session.space.unmap(MAP[0]!.iova, MAP[0]!.size);
  session.space.info();
  await Promise.resolve();
}

async function driven(kernel: Kernel, path: string): Promise<void> {
  await using device = await openDevice(path, { kernel });
  await device.state();
  await device.setState("stop");
  await device.setState("running");
  await device.reset();
}

async function saved(kernel: Kernel, path: string): Promise<void> {
  await using device = await openDevice(path, { kernel });
  await save(device, sink([]), { precopy: { maxRounds: 2 } });
}

async function restored(kernel: Kernel, path: string, spec: string): Promise<void> {
  const source = await checkpointOf(spec);
  await using device = await openDevice(path, { kernel });
  await restore(device, source);
}

const checkpoints = new Map<string, readonly Uint8Array<ArrayBuffer>[]>();

async function checkpointOf(spec: string): Promise<RestoreSource> {
  let chunks = checkpoints.get(spec);
  if (chunks === undefined) {
    const kernel = new SimKernel(spec);
    const written: Uint8Array<ArrayBuffer>[] = [];
    await using device = await openDevice(kernel.devices[0]!.path, { kernel });
    await save(device, sink(written));
    checkpoints.set(spec, chunks = written);
  }
  assert.ok(chunks.length > 0);
  return {
    seekable: true,
    stream: () =>
      new ReadableStream({
        start(controller): void {
          for (const chunk of chunks) controller.enqueue(chunk.slice());
          controller.close();
        },
      }),
  };
}

function sink(chunks: Uint8Array<ArrayBuffer>[]): CheckpointSink {
  return {
    writable: new WritableStream({
      write(chunk): void {
        chunks.push(chunk.slice());
      },
    }),
    commit: () => Promise.resolve(),
    abort: () => Promise.resolve(),
  };
}

/** v1 and v2 devices, opened by their group and by their own node. */
const SPECS = [
  "sim:trapped?size=16KiB&chunk=4KiB",
  "sim:partitioned?size=16KiB&chunk=4KiB",
  "sim:mlx5?size=16KiB&cdev=1",
  "sim:mlx5?size=16KiB",
];

/** All of them. */
export const OPERATIONS: readonly Operation[] = SPECS.flatMap((spec) => [
  { name: "probe", spec, run: probed },
  { name: "map and unmap", spec, run: mapped },
  { name: "track dirty pages", spec, run: tracked },
  { name: "state and reset", spec, run: driven },
  { name: "save", spec, run: saved },
  { name: "restore", spec, run: (kernel, path) => restored(kernel, path, spec) },
]);
