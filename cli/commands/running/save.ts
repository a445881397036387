/**
 * `vfiokit save pid:N`: the state of a device that a running VMM has open.
 *
 * @module
 */

import { createCheckpointFile, openDevice, save } from "../../../mod.ts";
import { shellFile } from "../../../src/vfio/mod.ts";
import { ProcessDevice, QmpClient, whilePaused } from "../../../src/vmm/mod.ts";
import type { Context } from "../../context.ts";
import { CANNOT } from "../../exit_codes.ts";
import {
  failedDocument,
  phaseTable,
  reportDocument,
  startDocument,
  summary,
} from "../../output/transfer_report.ts";
import type { SaveArgs } from "../../specs/save_restore.ts";
import { UsageError } from "../../usage_error.ts";
import { speaksV2 } from "./demand_v2.ts";
import { Guard } from "./guard.ts";
import { pausedLine } from "./paused_line.ts";

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
  if (!speaksV2(taken, context)) return CANNOT;
  await using sink = await createCheckpointFile(output, { force, signal: context.signal });
  await using device = await openDevice(`fd:${taken.own}`, {
    onError: "leave",
    trace: context.trace,
  });
  context.drivers = [device];
  using monitor = await QmpClient.connect(qmp);
  const stayPaused = !(await monitor.status()).running;
  await using guard = await Guard.start({ device: taken.name, qmp, stayPaused });
  const options = { compress, digest, readBack: !noReadBack, signal: context.signal };
  try {
    const { value: report, pausedMs } = await whilePaused(
      device,
      monitor,
      () => save([device], sink, { leave: "stop", ...options }),
    );
    await guard.done();
    context.stands = true;
    reportDocument(context, [device], report);
    const { state } = await device.state();
    context.set({ device: taken.name, state, readBack: report.readBack, pausedMs });
    context.print(`Saved ${taken.name} to ${output}: ${summary(report)}`, ...phaseTable(report));
    context.print(pausedLine(pausedMs), `The device is in state ${state}.`);
    if (!sink.direct) context.note(`Next: vfiokit show ${shellFile(output)}`);
    return 0;
  } catch (error) {
    failedDocument(context, [device], error);
    monitor.close();
    throw await guard.after(error, context);
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
