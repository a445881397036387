/**
 * `vfiokit phase stop-and-copy`: the stop-and-copy phase alone. Stops a device and writes a whole
 * checkpoint to stdout. It first copies the output of `phase precopy` from stdin; if stdin is empty,
 * it reads the device's whole state. Leaves the device stopped.
 *
 * @module
 */

import process from "node:process";
import {
  checkIdentity,
  type Device,
  IdentityError,
  MigrationError,
  openCheckpointFile,
  type StateName,
  stopAndCopy,
  type Transaction,
} from "../../../mod.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../../src/checkpoint/mod.ts";
import type { Context } from "../../context.ts";
import { refuseTerminal } from "../../output/transfer_report.ts";
import type { PhaseArgs } from "../../specs/phase/phases.ts";
import { UsageError } from "../../usage_error.ts";
import { headerFor, runPhase, toStdout } from "./_phase.ts";

/** The states from which a save continues after pre-copy, in either protocol. */
const GOING_ON: readonly StateName[] = ["pre-copy", "pre-copy-p2p", "stop-and-copy"];

/** Runs `phase stop-and-copy`. */
export function run(args: PhaseArgs, context: Context): Promise<number> {
  const { signal } = context;
  refuseTerminal();
  return runPhase(args, context, {
    verb: "Stopping and copying",
    async work(device): Promise<void> {
      const encoder = encodeCheckpoint(headerFor(device));
      const written = toStdout(encoder.readable);
      const before = await precopied(context);
      if (before === null) await demandNothingRead(device);
      else {
        await passThrough(before, device, encoder.writable, signal);
        await demandStillThere(device);
      }
      await stopAndCopy(device).pipeTo(encoder.writable, { signal });
      await written;
    },
  });
}

type Bytes = Uint8Array<ArrayBuffer>;

/** The checkpoint on stdin; null if stdin is a terminal or empty. */
async function precopied(context: Context): Promise<ReadableStream<Bytes> | null> {
  if (process.stdin.isTTY) return null;
  const bytes = (await openCheckpointFile("-")).stream().getReader();
  const first = await context.until(bytes.read());
  if (first.done) return null;
  return new ReadableStream({
    start(controller): void {
      controller.enqueue(first.value);
    },
    async pull(controller): Promise<void> {
      const { done, value } = await bytes.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => bytes.cancel(reason),
  }, { highWaterMark: 0 });
}

/**
 * In pre-copy, a part of the state was read already: without it, the checkpoint would not be
 * complete.
 */
async function demandNothingRead(device: Device): Promise<void> {
  const { state } = await device.state();
  if (state !== "pre-copy" && state !== "pre-copy-p2p") return;
  throw wrongState(
    state,
    "what pre-copy wrote does not come in on stdin",
    'pipe it in; or begin anew, after "vfiokit state DEVICE running"',
  );
}

/** The checkpoint on stdin belongs to a pre-copy: in any other state, it is of no use. */
async function demandStillThere(device: Device): Promise<void> {
  const { state } = await device.state();
  if (GOING_ON.includes(state)) return;
  throw wrongState(
    state,
    "has left the pre-copy that comes in on stdin",
    'begin anew; both phases need the same open device: "vfiokit with DEVICE -- COMMAND"',
  );
}

function wrongState(state: StateName, problem: string, hint: string): MigrationError {
  return new MigrationError(`Cannot save the device: it is in ${state}, and ${problem}`, {
    code: "wrong-state",
    deviceState: state,
    recovery: "none",
    hint,
  });
}

/** Copies a checkpoint's transactions; it must be a complete pre-copy of this device. */
async function passThrough(
  checkpoint: ReadableStream<Bytes>,
  device: Device,
  writable: WritableStream<Transaction>,
  signal: AbortSignal,
): Promise<void> {
  const decoder = decodeCheckpoint();
  const fed = checkpoint.pipeTo(decoder.writable, { signal });
  fed.catch(() => {});
  const header = await decoder.header;
  if (header.complete) {
    throw new UsageError("Cannot go on with the checkpoint on stdin: it is complete already");
  }
  const differences = checkIdentity(header.devices[0]!, device.description.identity!);
  if (differences.length > 0) throw new IdentityError(differences);
  await decoder.readable.pipeTo(writable, { preventClose: true, signal });
  await fed;
}
