/**
 * `vfiokit restore`: a checkpoint into a device.
 *
 * @module
 */

import {
  type CheckpointSource,
  type Device,
  openCheckpointFile,
  openDevice,
  restore,
  type TransferReport,
  verifyCheckpoint,
} from "../../mod.ts";
import { refuseSimulated, runProgram } from "../_child.ts";
import type { Context } from "../_context.ts";
import { CLOSED, hold, holdFailed, lendable, openOptions } from "../_devices.ts";
import { showProgress } from "../_progress.ts";
import {
  failedDocument,
  phaseTable,
  reportDocument,
  startDocument,
  summary,
} from "../_transfer.ts";
import { UsageError } from "../_usage_error.ts";
import type { RestoreArgs } from "../table/move.ts";

/** Runs `restore`. */
export async function run(args: RestoreArgs, context: Context): Promise<number> {
  const { command } = args;
  startDocument(context, args.device);
  if (command !== undefined) {
    if (args.hold) throw new UsageError("Cannot use both --hold and a program: either one holds");
    refuseSimulated([args.device]);
  }
  await using source = await openCheckpointFile(args.file);
  const total = await verifiedBytes(source, context);
  await using device = await openDevice(args.device, openOptions(args));
  let report: TransferReport;
  try {
    report = await restoreWithProgress(device, source, total, args, context);
  } catch (error) {
    return await holdFailed(error, args, context);
  }
  reportDocument(context, device, report);
  const from = args.file === "-" ? "stdin" : args.file;
  context.print(`Restored ${args.device} from ${from}: ${summary(report)}`, phaseTable(report));
  context.print(`The device is in state ${report.state}.`);
  context.publish();
  if (command !== undefined) {
    return await runProgram(command, [lendable(device)], context, args.json);
  }
  if (args.hold) return await hold(context);
  if (!device.description.borrowed) {
    context.note(CLOSED);
  }
  return 0;
}

/**
 * Verifies a file whole, before the device is even opened, which may reset it;
 * returns the bytes of state in it. A pipe can be read only once: undefined.
 */
async function verifiedBytes(
  source: CheckpointSource,
  context: Context,
): Promise<number | undefined> {
  if (!source.seekable) return undefined;
  const { trailer } = await verifyCheckpoint(source.stream(), { recycle: true });
  context.signal.throwIfAborted();
  return trailer.bytes;
}

async function restoreWithProgress(
  device: Device,
  source: CheckpointSource,
  total: number | undefined,
  args: RestoreArgs,
  context: Context,
): Promise<TransferReport> {
  using _progress = await showProgress(
    `Restoring ${args.device}`,
    { now: () => device.progress(), total },
    context,
  );
  try {
    // Verified already, before the device was opened: not once more.
    const { path, file } = source;
    const once = { path, file, seekable: false, stream: () => source.stream() };
    return await restore(device, once, {
      leave: args.leave,
      force: args.force,
      signal: context.signal,
    });
  } catch (error) {
    failedDocument(context, device);
    throw error;
  }
}
