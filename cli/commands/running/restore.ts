/**
 * `vfiokit restore pid:N`: a checkpoint into a device that a running VMM has open.
 *
 * @module
 */

import { rmSync } from "node:fs";
import {
  checkIdentity,
  createCheckpointFile,
  type Device,
  IdentityError,
  openCheckpointFile,
  openDevice,
  restore,
  save,
  verifyCheckpoint,
} from "../../../mod.ts";
import type { CheckpointSource } from "../../../src/checkpoint/mod.ts";
import type { RestoreSource } from "../../../mod.ts";
import {
  PausedVmError,
  ProcessDevice,
  QmpClient,
  replaceState,
  whilePaused,
} from "../../../src/vmm/mod.ts";
import type { Context } from "../../context.ts";
import { CANNOT } from "../../exit_codes.ts";
import {
  failedDocument,
  phaseTable,
  reportDocument,
  startDocument,
  summary,
} from "../../output/transfer_report.ts";
import type { RestoreArgs } from "../../specs/save_restore.ts";
import { UsageError } from "../../usage_error.ts";
import { speaksV2 } from "./demand_v2.ts";
import { Guard } from "./guard.ts";
import { pausedLine } from "./paused_line.ts";

/** Runs `restore pid:N`. */
export async function run(args: RestoreArgs, context: Context): Promise<number> {
  const { devices: [name = ""], qmp, file, rollback = `${file}.rollback` } = args;
  startDocument(context, args.devices);
  if (qmp === undefined) {
    throw new UsageError(
      "Cannot restore into a device of a running VMM without its monitor, which pauses the machine: --qmp SOCKET",
    );
  }
  refuseOthers(args);
  const { signal } = context;
  await using source = await context.until(openCheckpointFile(file));
  if (!source.seekable) {
    throw new UsageError(
      `Cannot restore from "${file}": it is verified first, so it must be a regular file`,
    );
  }
  const { header } = await verifyCheckpoint(source, { signal });
  using taken = ProcessDevice.take(name);
  context.set({ device: taken.name });
  if (!speaksV2(taken, context)) return CANNOT;
  await using device = await openDevice(`fd:${taken.own}`, {
    onError: "leave",
    trace: context.trace,
  });
  context.drivers = [device];
  demandSame(header.devices, device);
  await using kept = await createCheckpointFile(rollback, { signal });
  using monitor = await QmpClient.connect(qmp);
  const stayPaused = !(await monitor.status()).running;
  await using guard = await Guard.start({ device: taken.name, qmp, stayPaused, rollback });
  try {
    const { value: report, pausedMs } = await whilePaused(
      device,
      monitor,
      () =>
        replaceState(device, {
          keep: () => save(device, kept, { leave: "stop", signal }),
          load: () => restore(device, once(source), { leave: "stop", signal }),
          loadKept: async () => {
            await using source = await openCheckpointFile(rollback);
            await restore(device, source, { leave: "stop" });
          },
        }),
    );
    rmSync(rollback);
    await guard.done();
    context.stands = true;
    reportDocument(context, [device], report);
    const { state } = await device.state();
    context.set({ device: taken.name, state, pausedMs });
    context.summarize(
      `Restored ${taken.name} from ${file}: ${summary(report)}`,
      ...phaseTable(report),
      pausedLine(pausedMs),
      `The device is in state ${state}.`,
    );
    return 0;
  } catch (error) {
    failedDocument(context, [device], error);
    monitor.close();
    const last = await guard.after(error, context);
    // What was kept is needed only by a device that has not got it back.
    const left = last instanceof PausedVmError && last.code === "left-paused";
    if (!left) rmSync(rollback, { force: true });
    throw last;
  }
}

/** Verified before: it is read once more, not twice. */
function once(source: CheckpointSource): RestoreSource {
  const { path, file } = source;
  return { path, file, seekable: false, stream: () => source.stream() };
}

/** Refuses a checkpoint of another device, before the machine is paused. */
function demandSame(
  saved: Awaited<ReturnType<typeof verifyCheckpoint>>["header"]["devices"],
  { description }: Device,
): void {
  const differences = saved.length === 1
    ? checkIdentity(saved[0]!, description.identity!)
    : [`it holds ${saved.length} devices`];
  if (differences.length > 0) throw new IdentityError(differences, "it does not fit");
}

/** Refuses what would set states that the VMM does not know of, and what makes no sense. */
function refuseOthers(args: RestoreArgs): void {
  if (args.devices.length > 1) {
    throw new UsageError("Cannot restore several devices of running VMMs together: name one");
  }
  const { command, hold, via, vfToken, groupFd, containerFd, quirk } = args;
  if (
    hold || args.map.length > 0 ||
    [command, via, vfToken, groupFd, containerFd, quirk].some((one) => one !== undefined)
  ) {
    throw new UsageError(
      "Cannot use a program, --hold, --map, or options about opening: the VMM has opened it",
    );
  }
  if (args.leave !== "running") {
    throw new UsageError("Cannot leave the device in another state than its VMM believes in");
  }
  if (args.force) {
    throw new UsageError("Cannot use --force: the VMM goes on with the very device that was saved");
  }
  if (args.file === "-") {
    throw new UsageError("Cannot read from stdin: it is verified first, so it must be a file");
  }
}
