/**
 * A device to a checkpoint: pre-copy, stop-and-copy, encoded, to a sink.
 *
 * @module
 */

import { cleanedUpAsync } from "../base/cleanup.ts";
import { watchNotes } from "../migration/thread/host.ts";
import type { Device } from "../migration/device.ts";
import type { PrecopyOptions } from "../migration/protocol/precopy_limits.ts";
import type { Phase } from "../checkpoint/batches/transaction.ts";
import type { EncodeOptions } from "../checkpoint/format/checkpoint_encoder.ts";
import { failed, notKept } from "./_failure.ts";
import { keep, keptUnread } from "./_keep.ts";
import { cannotRun, finalState } from "./_run_again.ts";
import { sinkOf } from "./plain_streams.ts";
import { openWriter, type Writer } from "./_writer.ts";
import type { ReadBack } from "../checkpoint/read_back.ts";
import { type PhaseReport, type SaveReport, totals } from "./report.ts";
import { VERSION } from "../base/version.ts";

/** Where a checkpoint is written to. */
export interface CheckpointSink {
  /** What it is called, for messages. */
  readonly path?: string | undefined;
  /**
   * An open fd where the bytes may be written to instead, by the device's own
   * thread, which is quicker. It must be one that is always ready, as a regular
   * file is, and stay open until the commit or the abort.
   */
  readonly fd?: number | undefined;
  /** Takes the bytes, in order. */
  readonly writable: WritableStream<Uint8Array<ArrayBuffer>>;
  /** Makes what was written appear, whole; called after the stream has closed. */
  commit(): Promise<void>;
  /** Leaves no trace, where that can be had; `reason` is what ended the save. */
  abort(reason?: unknown): Promise<void>;
  /** How to read what was written before it appears; undefined where that cannot be had. */
  readonly readBack?: ReadBack | undefined;
}

/** How to save. */
export interface SaveOptions extends Omit<EncodeOptions, "complete"> {
  /** Reads while the device runs first, up to these limits; without it the device is stopped at once. */
  readonly precopy?: PrecopyOptions | undefined;
  /** What the device does afterwards; default `running`. */
  readonly leave?: "running" | "stopped" | undefined;
  /**
   * Reads a file back before it appears, and once the device runs again: what
   * cannot be restored is found now, and leaves no file. What is no regular
   * file cannot be read back. Default true.
   */
  readonly readBack?: boolean | undefined;
  /** Ends the save; the device then runs again. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Saves a device's state as a checkpoint, and lets it run again.
 *
 * Whatever ends the save early, an error, the signal, or a sink that takes no
 * more, the device is brought back to RUNNING and the sink is aborted. Once the
 * checkpoint is in its place it stays there, even if the device then does not
 * run again.
 *
 * A regular file is synced, and then the device runs again; it does not wait
 * for the file to be read back and to get its name. What that finds leaves no
 * file, and the device as it is.
 *
 * @param device The device; it must be running, or in pre-copy.
 * @param target Where the bytes go: a checkpoint file or another {@linkcode CheckpointSink}, or a
 * `WritableStream`, which is closed at the end, or aborted with what ended the save.
 * @throws {TypeError} If the target is none of these, or its stream is locked; nothing was touched.
 * @throws {MigrationError} With the device's state, and what was done about it;
 * with the code `read-back` and a `ReadBackError` as cause where the file is bad.
 * @throws {UnsupportedError} If the device does not migrate.
 *
 * @example
 * ```ts
 * import { openDevice, save } from "@vfiokit/vfiokit";
 * import assert from "node:assert/strict";
 *
 * let stored = 0;
 * const target = new WritableStream<Uint8Array<ArrayBuffer>>({
 *   write(chunk) {
 *     stored += chunk.length;
 *   },
 * });
 * await using device = await openDevice("sim:trapped?size=1MiB");
 * const report = await save(device, target);
 * assert.equal(report.state, "running");
 * assert.ok(stored > report.bytes);
 * ```
 */
export async function save(
  device: Device,
  target: CheckpointSink | WritableStream<Uint8Array<ArrayBuffer>>,
  options: SaveOptions = {},
): Promise<SaveReport> {
  const sink = sinkOf(target);
  const { precopy: limits, leave = "running", readBack: wanted = true, signal, ...encoding } =
    options;
  const readBack = wanted ? sink.readBack : undefined;
  const phases: PhaseReport[] = [];
  const run = async (name: Phase, phase: () => Promise<void>): Promise<void> => {
    const entered = performance.now();
    signal?.throwIfAborted();
    await phase();
    const { transactions, bytes } = device.progress();
    phases.push({ name, transactions, bytes, seconds: (performance.now() - entered) / 1000 });
  };

  using notes = watchNotes(device);
  let seconds = 0;
  let writer: Writer | null = null;
  try {
    // A device without migration refuses this, with its reasons.
    await device.state();
    signal?.throwIfAborted();
    const begun = performance.now();
    writer = await openWriter(
      device,
      sink,
      {
        devices: [device.description.identity!],
        created: new Date().toISOString(),
        tool: `vfiokit ${VERSION}`,
        iovaPageSize: null,
      },
      encoding,
      signal,
    );
    const { precopy, stopAndCopy } = writer;
    if (limits !== undefined) await run("pre-copy", () => precopy(limits));
    await run("stop-and-copy", stopAndCopy);
    await writer.end();
    seconds = (performance.now() - begun) / 1000;
    if (readBack === undefined) await sink.commit();
    else await readBack.sync();
  } catch (error) {
    const failure = await failed("save the device", device, error, signal, notes);
    writer?.abort(error);
    throw await cleanedUpAsync(failure, () => sink.abort(error));
  }
  const moved = totals(phases);
  // The device first: it does not wait for the file to be read, nor for what is found there.
  const left = await finalState(device, leave);
  const kept = readBack === undefined
    ? keptUnread(sink)
    : await keep(sink, readBack, [moved], signal);
  if (left instanceof Error) throw cannotRun(left, kept.error, notes);
  if (kept.error !== null) throw await notKept(device, kept.error, notes);
  return {
    state: left.state,
    ...moved,
    seconds,
    phases,
    notes: notes.list(),
    readBack: kept.readBack,
  };
}
