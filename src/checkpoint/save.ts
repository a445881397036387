/**
 * A device to a checkpoint: pre-copy, stop-and-copy, encoded, to a sink.
 *
 * @module
 */

import { watchNotes } from "../migration/_host.ts";
import type { Device } from "../migration/device.ts";
import type { PrecopyOptions } from "../migration/precopy.ts";
import type { Phase } from "../migration/types.ts";
import type { EncodeOptions } from "./encoder.ts";
import { failed } from "./_failure.ts";
import { letRun } from "./_let_run.ts";
import { openWriter } from "./_writer.ts";
import { type PhaseReport, totals, type TransferReport } from "./report.ts";
import { VERSION } from "../version.ts";

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
  /** Leaves no trace, where that can be had. */
  abort(): Promise<void>;
}

/** How to save. */
export interface SaveOptions extends Omit<EncodeOptions, "complete"> {
  /** Reads while the device runs first, up to these limits; without it the device is stopped at once. */
  readonly precopy?: PrecopyOptions | undefined;
  /** What the device does afterwards; default `running`. */
  readonly leave?: "running" | "stopped" | undefined;
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
 * @param device The device; it must be running, or in pre-copy.
 * @param sink Where the bytes go, such as a checkpoint file.
 * @throws {MigrationError} With the device's state, and what was done about it.
 * @throws {UnsupportedError} If the device does not migrate.
 *
 * @example
 * ```ts
 * import { openDevice } from "../migration/device.ts";
 * import { save } from "./save.ts";
 * import assert from "node:assert/strict";
 *
 * let stored = 0;
 * const sink = {
 *   writable: new WritableStream<Uint8Array<ArrayBuffer>>({
 *     write(chunk) {
 *       stored += chunk.length;
 *     },
 *   }),
 *   async commit() {},
 *   async abort() {},
 * };
 * await using device = await openDevice("sim:trapped?size=1MiB");
 * const report = await save(device, sink);
 * assert.equal(report.state, "running");
 * assert.ok(stored > report.bytes);
 * ```
 */
export async function save(
  device: Device,
  sink: CheckpointSink,
  options: SaveOptions = {},
): Promise<TransferReport> {
  const { precopy: limits, leave = "running", signal, ...encoding } = options;
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
  try {
    // A device without migration refuses this, with its reasons.
    await device.state();
    const begun = performance.now();
    const writer = await openWriter(
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
    if (limits !== undefined) await run("pre-copy", () => writer.precopy(limits));
    await run("stop-and-copy", () => writer.stopAndCopy());
    await writer.end();
    seconds = (performance.now() - begun) / 1000;
    await sink.commit();
  } catch (error) {
    const failure = await failed("save the device", device, error, signal, notes);
    await sink.abort();
    throw failure;
  }
  const { state } = leave === "running" ? await letRun(device, notes) : await device.state();
  return { state, ...totals(phases), seconds, phases, notes: notes.list() };
}
