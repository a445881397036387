/**
 * What the commands of one phase share: the device, the progress, and what becomes of the device
 * after a failure.
 *
 * @module
 */

import {
  createCheckpointFile,
  type Device,
  MigrationError,
  openDevice,
  type Recovery,
  type StateName,
  TransferError,
} from "../../../mod.ts";
import { type CheckpointHeader, newHeader } from "../../../src/checkpoint/mod.ts";
import { describeRecovery, standstill } from "../../../src/vfio/mod.ts";
import type { Context } from "../../context.ts";
import { lentDataFdSockets } from "../../lending/lent_devices.ts";
import { openOptions, refuseQuirk } from "../../lending/open_devices.ts";
import { precopyWords, standstillWords } from "../../output/downtime_words.ts";
import { showProgress } from "../../output/progress.ts";
import { STDERR } from "../../output/stdio.ts";
import type { PhaseArgs } from "../../specs/phase/phases.ts";

/** Opens the device and runs a phase on it; what there is to say goes to stderr. */
export async function runPhase(
  args: PhaseArgs,
  context: Context,
  { verb, work }: {
    /** What the progress says, such as `Saving`. */
    readonly verb: string;
    /** The phase itself. */
    readonly work: (device: Device) => Promise<void>;
  },
): Promise<number> {
  context.resultFd = STDERR;
  await using device = await openDevice(args.device, {
    ...openOptions(args, [args.device], context),
    dataFdSockets: lentDataFdSockets(args.device),
  });
  context.drivers = [device];
  refuseQuirk(args, [device]);
  // A device without migration refuses this, with the reasons.
  await device.state();
  using _progress = showProgress({
    verb,
    name: args.device,
    now: () => device.progress(),
  }, context);
  try {
    // The process at the other end of a pipe may never continue: do not wait for it.
    await context.until(work(device));
  } catch (error) {
    throw await recovered(device, error);
  }
  const precopied = await device.precopyReport();
  if (precopied !== null) context.note(precopyWords("", precopied));
  const found = standstill(await device.stateChanges());
  if (found !== null) context.note(`The device ${standstillWords(found)}`);
  return 0;
}

/**
 * Brings the device back to RUNNING after a failure, unless the error has its state: then that was
 * done.
 */
async function recovered(device: Device, error: unknown): Promise<unknown> {
  if (error instanceof MigrationError || device.description.protocol === null) return error;
  if (error instanceof TransferError) return error;
  const { recovery, state } = await bringBack(device);
  return new MigrationError(`${(error as Error).message}; ${describeRecovery(recovery, state)}`, {
    code: "failed",
    deviceState: state,
    recovery,
  }, { cause: error });
}

async function bringBack(device: Device): Promise<{ recovery: Recovery; state: StateName }> {
  try {
    const recovery = await device.recover();
    return { recovery, state: (await device.state()).state };
  } catch {
    // The earlier failure is the one to report.
    return { recovery: "failed", state: "unknown" };
  }
}

/** Writes a checkpoint's bytes to stdout; resolves when all are written. */
export function toStdout(bytes: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
  const written = (async (): Promise<void> => {
    const file = await createCheckpointFile("-");
    await bytes.pipeTo(file.writable);
    await file.commit();
  })();
  // The writer at the other end of the stream gets the failure first.
  written.catch(() => {});
  return written;
}

/** The header of a checkpoint of one device. */
export function headerFor(device: Device): CheckpointHeader {
  return newHeader([device.description.identity!]);
}
