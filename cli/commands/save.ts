/**
 * `vfiokit save`: the state of devices to a checkpoint.
 *
 * @module
 */

import type { CheckpointFile, ReadBackReport } from "../../src/checkpoint/mod.ts";
import {
  type CheckpointSink,
  createCheckpointFile,
  type Device,
  openDevices,
  type PrecopyOptions,
  save,
  type SaveReport,
} from "../../mod.ts";
import { isProcessDevice } from "../../src/vmm/mod.ts";
import { shellFile } from "../../src/vfio/mod.ts";
import { refuseUnlendable, runProgram } from "../lending/run_program.ts";
import type { Context } from "../context.ts";
import { lendable, openOptions, refuseQuirk } from "../lending/open_devices.ts";
import { SimulatedDevices } from "../lending/simulated_devices.ts";
import { timeLines } from "../output/downtime_words.ts";
import { time } from "../output/format.ts";
import { readingBack, showProgress, together } from "../output/progress.ts";
import { STDERR } from "../output/stdio.ts";
import {
  failedDocument,
  noteP2p,
  phaseTable,
  refuseStdout,
  reportDocument,
  startDocument,
  stateLine,
  summary,
  whom,
} from "../output/transfer_report.ts";
import { UsageError } from "../usage_error.ts";
import type { SaveArgs } from "../specs/save_restore.ts";

const NOT_REACHED: ReadBackReport = { done: false, seconds: null, reason: "not-reached" };

/** Runs `save`. */
export async function run(args: SaveArgs, context: Context): Promise<number> {
  if (args.devices.some(isProcessDevice)) {
    const running = await import("./running/save.ts");
    return await running.run(args, context);
  }
  if (args.qmp !== undefined) {
    throw new UsageError("Cannot use --qmp: it is for a device that a VMM has open, pid:N");
  }
  const piped = args.output === "-";
  startDocument(context, args.devices);
  context.set({ readBack: NOT_REACHED });
  checkUsage(args, piped);
  if (piped) context.resultFd = STDERR;
  // Given up when the block ends without a commit: nothing is left of it then.
  await using sink = await createCheckpointFile(args.output, {
    force: args.force,
    signal: context.signal,
  });
  await using lent = await SimulatedDevices.serve(args.command === undefined ? [] : args.devices);
  await using devices = await openDevices(args.devices, {
    ...openOptions(args, args.devices, context),
    channels: lent.channels,
  });
  context.drivers = devices;
  refuseQuirk(args, devices);
  noteMissing(devices, args, context);
  const report = await saveWithProgress(devices, sink, args, context);
  context.stands = true;
  reportDocument(context, devices, report);
  context.set({ readBack: report.readBack });
  tell(report, args, sink, context);
  if (args.command === undefined) return 0;
  await context.publish();
  return await runProgram(
    args.command,
    { devices: devices.map(lendable) },
    context,
    piped,
  );
}

function checkUsage(args: SaveArgs, piped: boolean): void {
  if (args.command !== undefined) refuseUnlendable(args.devices);
  if (piped) refuseStdout(args);
}

/** Says what of it not all of several devices can take part in. */
function noteMissing(devices: readonly Device[], args: SaveArgs, context: Context): void {
  noteP2p(devices, context);
  if (devices.length === 1 || precopyOptions(args) === undefined) return;
  for (const { name, description: { precopy, protocol } } of devices) {
    if (precopy || protocol === null) continue;
    context.note(`${name} has no pre-copy: all of its state is read while it is stopped.`);
  }
}

async function saveWithProgress(
  devices: readonly Device[],
  sink: CheckpointSink,
  args: SaveArgs,
  context: Context,
): Promise<SaveReport> {
  using _progress = showProgress({
    verb: "Saving",
    name: whom(args.devices),
    now: () => readingBack(sink) ?? together(devices),
  }, context);
  const options = {
    precopy: precopyOptions(args),
    leave: args.leave,
    compress: args.compress,
    digest: args.digest,
    readBack: !args.noReadBack,
    signal: context.signal,
  };
  try {
    return await save(devices, sink, options);
  } catch (error) {
    failedDocument(context, devices, error);
    context.set({ readBack: sink.readBack?.report ?? NOT_REACHED });
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
  report: SaveReport,
  args: SaveArgs,
  { direct }: CheckpointFile,
  context: Context,
): void {
  const piped = args.output === "-";
  const where = piped ? "stdout" : args.output;
  const { devices } = args;
  context.summarize(
    `Saved ${whom(devices)} to ${where}: ${summary(report)}`,
    ...phaseTable(report),
  );
  context.summarize(...timeLines(report), stateLine(report));
  const { done, seconds } = report.readBack;
  if (done) context.summarize(`The file was read back in ${time(seconds!)}, and is good.`);
  else if (!direct) context.summarize("The file was not read back.");
  const stopped = report.downtimeSeconds ?? 0;
  if (args.downtime !== undefined && stopped * 1000 > args.downtime) {
    context.note(
      `The standstill took ${time(stopped)}, longer than --downtime ${
        time(args.downtime / 1000)
      }: ` +
        "pre-copy had come to its end, or the driver's estimate was too low.",
    );
  }
  // A device or a fifo has kept nothing that could be restored from it.
  if (!direct) {
    const order = devices.length > 1 ? " the devices in the same order" : "";
    const places = devices.map(() => "DEVICE").join(" ");
    context.note(
      `hint: restore${order || " it"}: vfiokit restore ${places} ${shellFile(args.output)}`,
    );
  }
}
