/**
 * `vfiokit save pid:N`: the state of a device that a running VMM has open.
 *
 * @module
 */

import { createCheckpointFile, openDevice, probe, save } from "../../../mod.ts";
import { shellFile, shellWord } from "../../../src/vfio/mod.ts";
import { ProcessDevice, QmpClient, whilePaused } from "../../../src/vmm/mod.ts";
import type { Context } from "../../context.ts";
import { CANNOT } from "../../exit_codes.ts";
import { time } from "../../output/format.ts";
import {
  failedDocument,
  phaseTable,
  reportDocument,
  startDocument,
  summary,
} from "../../output/transfer_report.ts";
import type { SaveArgs } from "../../specs/save_restore.ts";
import { UsageError } from "../../usage_error.ts";
import { Guard } from "./guard.ts";

/** Runs `save pid:N`. */
export async function run(args: SaveArgs, context: Context): Promise<number> {
  const { devices: [name = ""], qmp, output, force, compress, digest, noReadBack } = args;
  startDocument(context, args.devices);
  if (qmp === undefined) {
    throw new UsageError(
      "Cannot save a device of a running VMM without its monitor, which pauses the machine: --qmp SOCKET",
    );
  }
  refuseOthers(args);
  using taken = ProcessDevice.take(name);
  context.set({ device: taken.name });
  const own = `fd:${taken.own}`;
  const { protocol } = probe(own, { trace: context.trace });
  context.set({ protocol });
  if (protocol !== "v2") {
    const message = protocol === null
      ? `${taken.name} cannot be migrated: vfiokit probe ${taken.name} says why`
      : `${taken.name} speaks v1, whose registers cannot be used beside another program`;
    context.say(message);
    context.failed(protocol === null ? "no-migration" : "v1", message);
    return CANNOT;
  }
  await using sink = await createCheckpointFile(output, { force, signal: context.signal });
  await using device = await openDevice(own, { onError: "leave", trace: context.trace });
  context.drivers = [device];
  await using guard = await Guard.start(taken.name, qmp);
  using monitor = await QmpClient.connect(qmp);
  try {
    const { value: report, running, pausedMs } = await whilePaused(
      device,
      monitor,
      () =>
        save([device], sink, {
          leave: "stop",
          compress,
          digest,
          readBack: !noReadBack,
          signal: context.signal,
        }),
    );
    await guard.done();
    context.stands = true;
    reportDocument(context, [device], report);
    const { state } = await device.state();
    context.set({ device: taken.name, state, readBack: report.readBack, pausedMs });
    context.print(`Saved ${taken.name} to ${output}: ${summary(report)}`, ...phaseTable(report));
    context.print(
      running
        ? `The virtual machine was paused for ${time(pausedMs! / 1000)}, and runs again.`
        : "The virtual machine was paused before, and still is.",
      `The device is in state ${state}.`,
    );
    if (!sink.direct) context.note(`Next: vfiokit show ${shellFile(output)}`);
    return 0;
  } catch (error) {
    failedDocument(context, [device], error);
    // The guard does what could not be done here, once this process ends.
    if (await wentWell(monitor)) await guard.done();
    else context.note(`If the machine stays paused: ${repairWords(taken.name, qmp)}`);
    throw error;
  }
}

/** Refuses what would set states that the VMM does not know of, and what makes no sense. */
function refuseOthers(args: SaveArgs): void {
  if (args.devices.length > 1) {
    throw new UsageError("Cannot save several devices of running VMMs together: name one");
  }
  const { precopy, threshold, downtime, maxRounds, maxTime } = args;
  if (precopy || [threshold, downtime, maxRounds, maxTime].some((limit) => limit !== undefined)) {
    throw new UsageError("Cannot use pre-copy: the VMM would not know that its device is in it");
  }
  const { command, via, vfToken, groupFd, containerFd, quirk } = args;
  if ([command, via, vfToken, groupFd, containerFd, quirk].some((one) => one !== undefined)) {
    throw new UsageError("Cannot use a program, or options about opening: the VMM has opened it");
  }
  if (args.leave !== "running") {
    throw new UsageError("Cannot leave the device in another state than its VMM believes in");
  }
  if (args.output === "-") {
    throw new UsageError(
      "Cannot write to stdout: the machine would wait for its reader; use -o FILE",
    );
  }
}

async function wentWell(monitor: QmpClient): Promise<boolean> {
  try {
    return (await monitor.status()).running;
  } catch {
    return false;
  }
}

function repairWords(name: string, qmp: string): string {
  return `vfiokit state ${name} --repair --qmp ${shellWord(qmp)}`;
}
