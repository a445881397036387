/**
 * `restore` of a folder's checkpoint: devices and their memory.
 *
 * @module
 */

import { type Device, openDevices } from "../../../mod.ts";
import {
  type ChainProgress,
  restoreChain,
  type RestoreChainReport,
  type VerifiedChain,
} from "../../../src/live/mod.ts";
import type { ChainName } from "../../chain_name.ts";
import type { Context } from "../../context.ts";
import { DONE } from "../../exit_codes.ts";
import { toServe, withGiven } from "../../lending/given_memory.ts";
import { keepOpen, noteClosed } from "../../lending/keep_open.ts";
import { holdFailed, openOptions, refuseQuirk } from "../../lending/open_devices.ts";
import { demandAsMany } from "../../lending/ranges.ts";
import { SimulatedDevices } from "../../lending/simulated_devices.ts";
import { bytes, count, time } from "../../output/format.ts";
import { showProgress, together } from "../../output/progress.ts";
import { failedDocument, noteP2p, whom } from "../../output/transfer_report.ts";
import type { RestoreArgs } from "../../specs/save_restore.ts";
import { verifiedChain } from "./folder.ts";

/** Restores devices and their memory; all that is needed is verified before a device is opened. */
export async function restoreFromFolder(
  args: RestoreArgs,
  { folder, number }: ChainName,
  context: Context,
): Promise<number> {
  const chain = await verifiedChain(args.file, { folder, number }, context);
  return await restoreVerified(
    args,
    { chain, from: `checkpoint ${chain.number} of ${folder}` },
    context,
  );
}

/** Restores devices and their memory from what was verified; `from` names it. */
export async function restoreVerified(
  args: RestoreArgs,
  { chain, from }: { readonly chain: VerifiedChain; readonly from: string },
  context: Context,
): Promise<number> {
  const { devices: names } = args;
  demandAsMany(chain.memory.length, names);
  const each = chain.memory.map(({ ranges }) => ({
    maps: withGiven(ranges, args.map, "checkpoint"),
  }));
  await using served = await SimulatedDevices.serve(toServe(names, args));
  await using devices = await openDevices(names, {
    ...openOptions(args, names, context),
    channels: served.channels,
    each,
  });
  context.drivers = devices;
  refuseQuirk(args, devices);
  noteP2p(devices, context);
  let report: RestoreChainReport;
  try {
    report = await restoreWithProgress(devices, chain, args, context);
  } catch (error) {
    failedDocument(context, devices, error);
    return await holdFailed(error, args, context);
  }
  context.stands = true;
  const { links, seconds } = report;
  context.set({
    checkpoint: chain.number,
    links,
    seconds,
    bytes: report.bytes.device,
    memoryBytes: report.bytes.memory,
    devices: report.devices.map(({ name, state }) => ({ name, state })),
  });
  context.summarize(
    `Restored ${whom(names)} from ${from} (${count(links, "file")}) in ${time(seconds)}: ${
      bytes(report.bytes.memory)
    } of memory, ${bytes(report.bytes.device)} of device data`,
  );
  const kept = await keepOpen(args, devices, context);
  if (kept !== null) return kept;
  noteClosed(devices, context);
  return DONE;
}

async function restoreWithProgress(
  devices: readonly Device[],
  chain: VerifiedChain,
  { devices: names, force, leave }: RestoreArgs,
  context: Context,
): Promise<RestoreChainReport> {
  let bytes = 0;
  using _progress = showProgress({
    verb: "Restoring",
    name: whom(names),
    now: () => ({ ...together(devices), bytes, pendingBytes: null }),
    total: chain.storedBytes,
  }, context);
  const { signal } = context;
  const onProgress = ({ storedBytes }: ChainProgress): void => void (bytes = storedBytes);
  return await restoreChain(devices, chain, { force, leave, signal, onProgress });
}
