/**
 * `vfiokit save`: a device's state to a checkpoint.
 *
 * @module
 */

import process from "node:process";
import {
  type CheckpointFile,
  type CheckpointSink,
  createCheckpointFile,
  type Device,
  openDevice,
  type PrecopyOptions,
  save,
  type TransferReport,
} from "../../mod.ts";
import { refuseSimulated, runProgram } from "../_child.ts";
import type { Context } from "../_context.ts";
import { lendable, openOptions } from "../_devices.ts";
import { time } from "../_format.ts";
import { showProgress } from "../_progress.ts";
import { STDERR } from "../_stdio.ts";
import {
  failedDocument,
  phaseTable,
  reportDocument,
  startDocument,
  summary,
} from "../_transfer.ts";
import { UsageError } from "../_usage_error.ts";
import type { SaveArgs } from "../table/move.ts";

/** Runs `save`. */
export async function run(args: SaveArgs, context: Context): Promise<number> {
  const piped = args.output === "-";
  startDocument(context, args.device);
  checkUsage(args, piped);
  if (piped) context.resultFd = STDERR;
  // Given up when the block ends without a commit: nothing is left of it then.
  await using sink = await createCheckpointFile(args.output, { force: args.force, recycle: true });
  await using device = await openDevice(args.device, openOptions(args));
  const report = await saveWithProgress(device, sink, args, context);
  reportDocument(context, device, report);
  tell(report, args, sink, context);
  context.publish();
  if (args.command === undefined) return 0;
  return await runProgram(args.command, [lendable(device)], context, piped || args.json);
}

function checkUsage(args: SaveArgs, piped: boolean): void {
  if (args.command !== undefined) refuseSimulated([args.device]);
  if (!piped) return;
  if (args.json) throw new UsageError("Cannot print JSON: with -o - stdout is the checkpoint");
  if (process.stdout.isTTY) {
    throw new UsageError("Cannot write the checkpoint to a terminal: name a file, or use a pipe");
  }
}

async function saveWithProgress(
  device: Device,
  sink: CheckpointSink,
  args: SaveArgs,
  context: Context,
): Promise<TransferReport> {
  using _progress = await showProgress(
    `Saving ${args.device}`,
    { now: () => device.progress() },
    context,
  );
  try {
    return await save(device, sink, {
      precopy: precopyOptions(args),
      leave: args.leave,
      compress: args.compress,
      digest: args.digest,
      signal: context.signal,
    });
  } catch (error) {
    failedDocument(context, device);
    throw error;
  }
}

/** Pre-copy is on where it, or any of its limits, was asked for. */
function precopyOptions(args: SaveArgs): PrecopyOptions | undefined {
  const { precopy, threshold, downtime, maxRounds, maxTime } = args;
  const limits = { threshold, downtimeMs: downtime, maxRounds, maxTimeMs: maxTime };
  const wanted = precopy || Object.values(limits).some((limit) => limit !== undefined);
  return wanted ? limits : undefined;
}

function tell(
  report: TransferReport,
  args: SaveArgs,
  { direct }: CheckpointFile,
  context: Context,
): void {
  const piped = args.output === "-";
  if (piped && context.quiet) return;
  const where = piped ? "stdout" : args.output;
  context.print(`Saved ${args.device} to ${where}: ${summary(report)}`, phaseTable(report));
  context.print(`The device is in state ${report.state}.`);
  const stopped = report.phases.find(({ name }) => name === "stop-and-copy")?.seconds ?? 0;
  if (args.downtime !== undefined && stopped * 1000 > args.downtime) {
    context.note(
      `Stop-and-copy took ${time(stopped)}, longer than --downtime ${
        time(args.downtime / 1000)
      }: ` +
        "pre-copy had come to its end, or the driver's estimate was too low.",
    );
  }
  // A device or a fifo has kept nothing that could be restored from it.
  if (!direct) {
    context.note(`Next: vfiokit restore DEVICE ${args.output}`);
  }
}
