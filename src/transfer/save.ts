/**
 * Devices to a checkpoint: they stop together, or none does.
 *
 * @module
 */

import { cleanedUpAsync, cleanlyAsync } from "../base/cleanup.ts";
import { createCheckpointFile } from "../checkpoint/file/create_checkpoint_file.ts";
import type { EncodeOptions } from "../checkpoint/format/checkpoint_encoder.ts";
import { Device } from "../migration/device.ts";
import type { PrecopyOptions } from "../migration/protocol/precopy_limits.ts";
import { newHeader } from "../checkpoint/metadata/header.ts";
import { CheckpointOutput } from "./_checkpoint_output.ts";
import { checkSave, precopy, stopAndCopy } from "./_save_steps.ts";
import { commit, committedUnread, demandCommitted } from "./commit.ts";
import { Lockstep } from "./lockstep.ts";
import { runAgain } from "./run_again.ts";
import { type CheckpointSink, sinkOf } from "./sinks_and_sources.ts";
import { type PhaseReport, type SaveReport, totals } from "./report.ts";
import { ProgressReports, type TransferProgress } from "./progress/progress_reports.ts";

/** How to save. */
export interface SaveOptions extends Pick<EncodeOptions, "compress" | "digest"> {
  /**
   * Reads devices while they run first, up to these limits; without it they are stopped at once.
   * Of several devices, those that have no pre-copy are left out of it.
   */
  readonly precopy?: PrecopyOptions | undefined;
  /** What the devices do afterwards; default `running`. */
  readonly leave?: "running" | "stop" | undefined;
  /**
   * Reads a file back before it appears, and once the devices run again: what
   * cannot be restored is found now, and leaves no file. What is no regular
   * file cannot be read back. Default true.
   */
  readonly readBack?: boolean | undefined;
  /** Ends the save; the devices then run again. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Is called when a step begins, about ten times a second, and at the end with the numbers of the
   * report. What it throws before the end ends the save, as the signal does.
   */
  readonly onProgress?: ((progress: TransferProgress) => void) | undefined;
}

/**
 * Saves the state of a device, or of several as one checkpoint, and lets them
 * run again: all of them, or none.
 *
 * Pre-copy goes on in all of them at the same time. Then each device that has
 * the P2P states begins no more DMA to others, before the first one stops; and
 * none is read before all have stopped. They are read at the same time, each on
 * its own thread, and no faster than the target takes it: memory stays below
 * 5 MiB a device. On the way back all stand in RUNNING_P2P before the first one
 * runs.
 *
 * Whatever ends the save early, a failure of one of them, the signal, or a
 * target that takes no more, all devices are brought back to RUNNING and the
 * target is aborted. Once the checkpoint is in its place it stays there, even if
 * a device then does not run again.
 *
 * A regular file is synced, and then the devices run again; they do not wait
 * for the file to be read back and to get its name. What that finds leaves no
 * file, and the devices as they are.
 *
 * @param devices One device, or 1 to 64, v1 and v2 as it comes; they must be
 * running, or in pre-copy. Their order is that of the checkpoint.
 * @param target Where the bytes go: a checkpoint file or another {@linkcode CheckpointSink}; an
 * fd, which stays open; or a `WritableStream`, which is closed at the end, or aborted with what
 * ended the save.
 * @throws {TypeError} If there is no device, or one twice, or the target is none of these, or its
 * stream is locked; nothing was touched.
 * @throws {TransferError} With what failed, and the state of each device.
 *
 * @example
 * ```ts
 * import { openDevices, save } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * let stored = 0;
 * const target = new WritableStream<Uint8Array<ArrayBuffer>>({
 *   write(chunk) {
 *     stored += chunk.length;
 *   },
 * });
 * await using devices = await openDevices(["sim:mlx5?size=1MiB", "sim:trapped?size=1MiB"]);
 * const report = await save(devices, target, { precopy: {} });
 * assert.equal(report.state, "running");
 * assert.equal(report.devices.length, 2);
 * assert.ok(stored > report.bytes);
 * ```
 */
export async function save(
  devices: Device | readonly Device[],
  target: CheckpointSink | WritableStream<Uint8Array<ArrayBuffer>> | number,
  options: SaveOptions = {},
): Promise<SaveReport> {
  const list = devices instanceof Device ? [devices] : devices;
  if (typeof target !== "number") return await saveTo(list, sinkOf(target), options);
  return await cleanlyAsync(async () => {
    await using file = await createCheckpointFile(`/dev/fd/${target}`);
    return await saveTo(list, file, options);
  });
}

async function saveTo(
  devices: readonly Device[],
  sink: CheckpointSink,
  options: SaveOptions,
): Promise<SaveReport> {
  const { precopy: limits, leave = "running", readBack: wanted = true } = options;
  const readBack = wanted ? sink.readBack : undefined;
  using stack = new DisposableStack();
  const progress = stack.use(new ProgressReports(options, readBack));
  const { signal } = progress;
  let lockstep: Lockstep | null = null;
  let output: CheckpointOutput | null = null;
  const phases: PhaseReport[] = [];
  let seconds = 0;
  try {
    lockstep = stack.use(new Lockstep("save", devices, signal));
    await checkSave(lockstep, limits !== undefined);
    const header = newHeader(devices.map(({ description }) => description.identity!));
    output = new CheckpointOutput(lockstep, sink, header, options);
    await lockstep.until(output.begin());
    lockstep.touch();
    progress.watch(lockstep.members);
    const begun = performance.now();
    if (limits !== undefined) progress.step("pre-copy");
    const read = limits === undefined ? null : await precopy(lockstep, output, limits);
    if (read !== null) phases.push(read);
    progress.step("stop-and-copy");
    phases.push(await stopAndCopy(lockstep, output));
    await lockstep.until(output.end());
    seconds = (performance.now() - begun) / 1000;
    if (readBack === undefined) await sink.commit();
    else await readBack.sync();
  } catch (error) {
    const failure = await lockstep?.failure(error) ?? error;
    await output?.abandon(error);
    throw await cleanedUpAsync(failure, () => sink.abort(error));
  }
  // The devices first: they do not wait for the file to be read, nor for what is found there.
  if (leave === "running") await runAgain(lockstep);
  const moved = lockstep.members.map((member) => totals(member.phases));
  if (readBack !== undefined) progress.step("read-back");
  const kept = readBack === undefined
    ? committedUnread(sink)
    : await commit(sink, readBack, moved, signal);
  await demandCommitted(lockstep, kept);
  const reports = await lockstep.reports(({ phases }) => ({
    seconds: phases.reduce((sum, phase) => sum + phase.seconds, 0),
    phases,
  }));
  const report = { ...reports, ...totals(phases), seconds, phases, readBack: kept.readBack };
  progress.done(report);
  return report;
}
