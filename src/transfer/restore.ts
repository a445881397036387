/**
 * A checkpoint to devices: all of them have their state, or none.
 *
 * @module
 */

import { cleanlyAsync } from "../base/cleanup.ts";
import { openCheckpointFile } from "../checkpoint/file/open_checkpoint_file.ts";
import { verifyCheckpoint, type VerifyProgress } from "../checkpoint/verify.ts";
import { Device } from "../migration/device.ts";
import { ask } from "../migration/thread/session_client.ts";
import { CheckpointInput } from "./_checkpoint_input.ts";
import { RestoreSteps } from "./restore_steps.ts";
import { demandIdentity } from "./identity/demand_identity.ts";
import { Lockstep } from "./lockstep.ts";
import { ProgressReports, type TransferProgress } from "./progress/progress_reports.ts";
import { type RestoreSource, sourceOf } from "./sinks_and_sources.ts";
import { type PhaseReport, totals, type TransferReport } from "./report.ts";

/** How to restore. */
export interface RestoreOptions {
  /** What the devices do afterwards; default `running`. */
  readonly leave?: "running" | "stop" | undefined;
  /** Restores a checkpoint of other kinds of devices too; never one of the other protocol. */
  readonly force?: boolean | undefined;
  /** Ends the restore; once begun, that resets the devices. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Is called when a step begins, about ten times a second, and at the end with the numbers of the
   * report. What it throws before the end ends the restore, as the signal does.
   */
  readonly onProgress?: ((progress: TransferProgress) => void) | undefined;
}

/**
 * Restores the state of a device, or of several, from one checkpoint, and lets
 * them run: all of them, or none.
 *
 * The devices are those that were saved, one by one in the order of the
 * checkpoint; all are compared before any is touched. They are given their data
 * at the same time, each on its own thread, as it comes in the checkpoint: one
 * that takes it slowly holds the others back. Memory stays below 5 MiB a device
 * for what this toolkit wrote. All have then to accept what they were given
 * before the first one runs, and those with the P2P states stand in RUNNING_P2P
 * before that.
 *
 * A source that can be read twice is verified whole before a device is touched.
 * From any other each frame is checked before its bytes reach a device, and a
 * checkpoint that turns out bad, or ends early, resets every device that was
 * given anything; so does whatever else ends the restore early.
 *
 * @param devices One device, or several in the order of the checkpoint.
 * @param origin Where the bytes come from: an open checkpoint file or another
 * {@linkcode RestoreSource}; an fd, which is read from where it stands, and stays open; or a
 * `ReadableStream`, which is cancelled if the restore fails.
 * @throws {TypeError} If there is no device, or one twice, or the origin is none of these, or its
 * stream is locked; nothing was touched.
 * @throws {TransferError} With what failed, and the state of each device; its cause is a
 * `CheckpointError` for a bad checkpoint, an `IdentityError` for one of other devices.
 *
 * @example
 * ```ts
 * import { createCheckpointFile, openCheckpointFile, openDevice, restore, save } from "vfiokit";
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
  devices: Device | readonly Device[],
  origin: RestoreSource | ReadableStream<Uint8Array> | number,
  options: RestoreOptions = {},
): Promise<TransferReport> {
  const list = devices instanceof Device ? [devices] : devices;
  if (typeof origin === "number") {
    return await cleanlyAsync(async () => {
      await using source = await openCheckpointFile(`/dev/fd/${origin}`);
      return await restoreFrom(list, source, true, options);
    });
  }
  const { source, recycle } = sourceOf(origin);
  return await restoreFrom(list, source, recycle, options);
}

async function restoreFrom(
  devices: readonly Device[],
  source: RestoreSource,
  recycle: boolean,
  options: RestoreOptions,
): Promise<TransferReport> {
  const { leave = "running", force = false } = options;
  using progress = new ProgressReports(options);
  using lockstep = new Lockstep("restore", devices, progress.signal);
  const steps = new RestoreSteps(lockstep);
  let input: CheckpointInput | null = null;
  let begun = 0;
  try {
    await lockstep.look();
    await lockstep.step(({ device }) => ask(device, "checkRestore"));
    progress.watch(lockstep.members);
    if (source.seekable) {
      progress.step("verify");
      const { signal } = lockstep;
      const onProgress = ({ storedBytes }: VerifyProgress): void => {
        progress.verifiedBytes = storedBytes;
      };
      await lockstep.until(verifyCheckpoint(source, { signal, onProgress }));
    }
    input = new CheckpointInput(lockstep, source, recycle);
    demandIdentity(await lockstep.until(input.header()), devices, force);
    begun = performance.now();
    lockstep.touch();
    progress.step("resuming");
    await steps.begin();
    await steps.load(input);
    input.end();
    await steps.end(leave);
  } catch (error) {
    const failure = await lockstep.failure(error, (member) => steps.recoveryMode(member));
    await input?.abandon(error);
    throw failure;
  }
  const seconds = (performance.now() - begun) / 1000;
  const reports = await lockstep.reports(({ phases }) => ({
    seconds,
    phases: phases.map((phase) => ({ ...phase, seconds })),
  }));
  const moved = totals(reports.devices);
  const phases: PhaseReport[] = [{ name: "resuming", ...moved, seconds }];
  progress.done(moved);
  return { ...reports, ...moved, seconds, phases };
}
