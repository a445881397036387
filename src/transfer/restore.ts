/**
 * A checkpoint to a device: source, decode, resume.
 *
 * @module
 */

import { watchNotes } from "../migration/thread/host.ts";
import { type Device, interruptOn } from "../migration/device.ts";
import type { ReadableFd } from "../checkpoint/file/checkpoint_source.ts";
import { failed } from "./_failure.ts";
import { stateNow } from "./_state_now.ts";
import { demandIdentity } from "./identity/check.ts";
import { sourceOf } from "./plain_streams.ts";
import { type Loader, openLoader } from "./_loader.ts";
import type { TransferReport } from "./report.ts";
import { verifyCheckpoint } from "../checkpoint/verify.ts";

/** Where a checkpoint comes from; a `CheckpointSource` is one. */
export interface RestoreSource {
  /** Whether it can be streamed twice. */
  readonly seekable: boolean;
  /** The bytes, from the start. */
  stream(): ReadableStream<Uint8Array<ArrayBuffer>>;
  /** What it is called, for messages. */
  readonly path?: string | undefined;
  /**
   * The same bytes, to be read by the device's own thread, which is quicker;
   * taken in place of a stream.
   */
  readonly file?: ReadableFd | undefined;
}

/** How to restore. */
export interface RestoreOptions {
  /** What the device does afterwards; default `running`. */
  readonly leave?: "running" | "stopped" | undefined;
  /** Restores a checkpoint of another kind of device too; never one of the other protocol. */
  readonly force?: boolean | undefined;
  /** Ends the restore; once begun, that resets the device. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Restores a device's state from a checkpoint, and lets it run.
 *
 * A source that can be read twice is verified whole before the device is
 * touched. From any other each frame is checked before its bytes reach the
 * device, and a checkpoint that turns out bad, or ends early, resets it.
 *
 * @param origin Where the bytes come from: an open checkpoint file or another
 * {@linkcode RestoreSource}, or a `ReadableStream`, which is cancelled where the restore fails.
 * @throws {TypeError} If the origin is none of these, or its stream is locked; nothing was touched.
 * @throws {CheckpointError} If the checkpoint is bad or incomplete.
 * @throws {IdentityError} If it is of another kind of device, or of several; nothing was touched.
 * @throws {MigrationError} With the device's state, and what was done about it.
 * @throws {UnsupportedError} If the device does not migrate.
 *
 * @example
 * ```ts
 * import { createCheckpointFile, openCheckpointFile, openDevice, restore, save } from "@vfiokit/vfiokit";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const folder = fs.mkdtempSync("/tmp/vfiokit-");
 * await using from = await openDevice("sim:trapped?size=1MiB&seed=1");
 * await using to = await openDevice("sim:trapped?size=1MiB&seed=2");
 * await using file = await createCheckpointFile(`${folder}/a.vfk`);
 * await save(from, file);
 * await using source = await openCheckpointFile(`${folder}/a.vfk`);
 * const report = await restore(to, source);
 * assert.equal(report.state, "running");
 * fs.rmSync(folder, { recursive: true });
 * ```
 */
export async function restore(
  device: Device,
  origin: RestoreSource | ReadableStream<Uint8Array>,
  options: RestoreOptions = {},
): Promise<TransferReport> {
  const { source, recycle } = sourceOf(origin);
  const { leave = "running", force = false, signal } = options;
  using notes = watchNotes(device);
  // Asks for what a device without migration refuses, for its reasons.
  await device.state();
  // What can be read twice is found bad before the device is touched.
  if (source.seekable) await verifyCheckpoint(source.stream(), { recycle, signal });
  signal?.throwIfAborted();
  let loader: Loader | null = null;
  let begun = performance.now();
  try {
    loader = await openLoader(device, source, recycle, signal);
    demandIdentity(loader.header, [device], force);
    begun = performance.now();
    using _interrupted = interruptOn(device, signal);
    await loader.load(leave);
  } catch (error) {
    loader?.cancel(error);
    throw await failed("restore the device", device, error, signal, notes);
  }
  const seconds = (performance.now() - begun) / 1000;
  const { transactions, bytes } = device.progress();
  const state = await stateNow(device);
  return {
    state,
    transactions,
    bytes,
    seconds,
    phases: [{ name: "resuming", transactions, bytes, seconds }],
    notes: notes.list(),
  };
}
