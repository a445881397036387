/**
 * `vfiokit restore`: a checkpoint into devices.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { dirname } from "node:path";
import type { CheckpointSource, CheckpointSummary } from "../../src/checkpoint/mod.ts";
import { isProcessDevice } from "../../src/vmm/mod.ts";
import { DeviceNameError, parseDeviceName, shellWord } from "../../src/vfio/mod.ts";
import {
  type Device,
  openCheckpointFile,
  openDevices,
  restore,
  type TransferReport,
  verifyCheckpoint,
} from "../../mod.ts";
import { chainName } from "../chain_name.ts";
import { demandFiles, refuseShared } from "../lending/given_memory.ts";
import { keepOpen, noteClosed, refuseBoth } from "../lending/keep_open.ts";
import { refuseUnlendable } from "../lending/run_program.ts";
import type { Context } from "../context.ts";
import { holdFailed, openOptions, refuseQuirk } from "../lending/open_devices.ts";
import { SimulatedDevices } from "../lending/simulated_devices.ts";
import { timeLines } from "../output/downtime_words.ts";
import { showProgress, together, whileReading } from "../output/progress.ts";
import {
  failedDocument,
  noteP2p,
  phaseTable,
  refuseTerminalInput,
  reportDocument,
  startDocument,
  stateLine,
  summary,
  whom,
} from "../output/transfer_report.ts";
import { UsageError } from "../usage_error.ts";
import type { RestoreArgs } from "../specs/save_restore.ts";

/** Runs `restore`. */
export async function run(args: RestoreArgs, context: Context): Promise<number> {
  if (args.devices.some(isProcessDevice)) {
    const running = await import("./running/restore.ts");
    return await running.run(args, context);
  }
  if (args.qmp !== undefined || args.rollback !== undefined) {
    throw new UsageError(
      "Cannot use --qmp or --rollback: they are for a device that a VMM has open, pid:N",
    );
  }
  const { command } = args;
  startDocument(context, args.devices);
  refuseBoth(args);
  demandFiles(args.map);
  refuseShared(args.devices, args.map);
  if (command !== undefined) refuseUnlendable(args.devices);
  const chain = chainName(args.file);
  if (chain !== null) {
    const { restoreFromFolder } = await import("./checkpoint/restore_chain.ts");
    return await restoreFromFolder(args, chain, context);
  }
  refuseMixedUp(args);
  if (args.file === "-") refuseTerminalInput();
  await using source = await context.until(openCheckpointFile(args.file));
  const verified = await verifiedFile(source, context);
  const link = verified?.header.link;
  if (verified !== null && link?.previous === null) {
    const { restoreVerified } = await import("./checkpoint/restore_chain.ts");
    const { header, storedBytes, trailer: { bytes: deviceBytes } } = verified;
    const { number, memory } = link;
    const chain = { folder: dirname(args.file), files: [args.file], number, header, memory };
    return await restoreVerified(
      args,
      { chain: { ...chain, deviceBytes, storedBytes }, from: args.file },
      context,
    );
  }
  if (args.map.length > 0) {
    throw new UsageError(
      `Cannot use --map with "${args.file}": it does not hold all of a device's memory, as DIR@N, a ` +
        "full checkpoint and the file of receive --tee do",
    );
  }
  const total = verified?.trailer.bytes;
  await using lent = await SimulatedDevices.serve(command === undefined ? [] : args.devices);
  await using devices = await openDevices(args.devices, {
    ...openOptions(args, args.devices, context),
    channels: lent.channels,
  });
  context.drivers = devices;
  refuseQuirk(args, devices);
  noteP2p(devices, context);
  let report: TransferReport;
  try {
    report = await restoreWithProgress(devices, { source, total }, args, context);
  } catch (error) {
    return await holdFailed(error, args, context);
  }
  context.stands = true;
  reportDocument(context, devices, report);
  const from = args.file === "-" ? "stdin" : args.file;
  const who = whom(args.devices);
  context.summarize(`Restored ${who} from ${from}: ${summary(report)}`, ...phaseTable(report));
  context.summarize(...timeLines(report), stateLine(report));
  const kept = await keepOpen(args, devices, context);
  if (kept !== null) return kept;
  noteClosed(devices, context);
  return 0;
}

/**
 * Refuses a checkpoint that does not come last.
 *
 * @throws {UsageError} If the last word names a device, and no file.
 */
function refuseMixedUp({ devices, file }: RestoreArgs): void {
  if (file === "-" || existsSync(file) || !isDeviceName(file)) return;
  const first = devices.find((name) => !isDeviceName(name) && existsSync(name));
  const others = devices.filter((name) => name !== first);
  const right = [...others, file, first ?? "FILE"].map(shellWord).join(" ");
  throw new UsageError(
    `Cannot read a checkpoint from "${file}": it is a device, and the checkpoint comes last: ` +
      `vfiokit restore ${right}`,
  );
}

function isDeviceName(name: string): boolean {
  try {
    parseDeviceName(name);
    return true;
  } catch (error) {
    if (error instanceof DeviceNameError) return false;
    throw error;
  }
}

/**
 * Verifies a file whole, before the device is even opened, which may reset it. A pipe can be read only
 * once: null.
 */
async function verifiedFile(
  source: CheckpointSource,
  context: Context,
): Promise<CheckpointSummary | null> {
  if (!source.seekable) return null;
  const { signal } = context;
  const verified = await whileReading(
    { verb: "Verifying", file: source.path, source },
    context,
    (at) => verifyCheckpoint(source, { signal, onProgress: (read) => at(read.storedBytes) }),
  );
  const { link } = verified.header;
  if (link !== undefined && link.previous !== null) {
    context.note(
      `This checkpoint is number ${link.number} of a chain: it has only what changed of its memory, ` +
        `so only the device is restored; its folder's DIR@${link.number} restores both.`,
    );
  }
  return verified;
}

/** A checkpoint to restore, and the bytes of state in it if it was verified. */
interface VerifiedSource {
  readonly source: CheckpointSource;
  readonly total: number | undefined;
}

async function restoreWithProgress(
  devices: readonly Device[],
  { source, total }: VerifiedSource,
  args: RestoreArgs,
  context: Context,
): Promise<TransferReport> {
  using _progress = showProgress({
    verb: "Restoring",
    name: whom(args.devices),
    now: () => together(devices),
    total,
  }, context);
  // Verified already, before the devices were opened: not once more.
  const { path, file } = source;
  const once = { path, file, seekable: false, stream: () => source.stream() };
  const options = { leave: args.leave, force: args.force, signal: context.signal };
  try {
    return await restore(devices, once, options);
  } catch (error) {
    failedDocument(context, devices, error);
    throw error;
  }
}
