/**
 * What the phases' scripts share: arguments, signals, exit code.
 *
 * @module
 */

import {
  argument,
  type InferValue,
  lineBreak,
  message,
  metavar,
  object,
  type Parser,
  text,
} from "../optique.ts";
import process from "node:process";
import deno from "../../deno.json" with { type: "json" };
import {
  createCheckpointFile,
  type Device,
  MigrationError,
  openDevice,
  type Recovery,
  type StateName,
  TransferError,
} from "../../mod.ts";
import { type CheckpointHeader, newHeader } from "../../src/checkpoint/mod.ts";
import { describeRecovery } from "../../src/vfio/mod.ts";
import { Context } from "../context.ts";
import { openOptions, refuseQuirk } from "../lending/open_devices.ts";
import { lentDataFdSockets } from "../lending/lent_devices.ts";
import { parseWords } from "../parse.ts";
import { standstill } from "../../src/vfio/mod.ts";
import { precopyWords, standstillWords } from "../output/downtime_words.ts";
import { traced } from "../trace_option.ts";
import { showProgress } from "../output/progress.ts";
import { watchSignals } from "../signals.ts";
import { STDERR } from "../output/stdio.ts";
import { refuseTerminal } from "../output/transfer_report.ts";
import { drive, quiet } from "../specs/options.ts";
import { device } from "../specs/value_parsers.ts";

/** The arguments of every phase. */
export const phaseArgs = {
  device: argument(device(), {
    description: [
      text("The device: fd:3 under vfiokit with, or any other name (see vfiokit probe)."),
    ],
  }),
  ...drive,
  ...quiet,
};

/** What every phase prints for arguments that do not parse. */
export const phaseObject = {
  errors: { endOfInput: message`Expected a ${metavar("DEVICE")}.` },
};

const common = object(phaseArgs, phaseObject);

/** The parsed arguments of every phase. */
export type PhaseArgs = InferValue<typeof common>;

/** The arguments of a phase without further ones. */
export const plainPhase: Parser<"sync", PhaseArgs, unknown> = common;

/** A phase's script. */
export interface PhaseScript<T extends PhaseArgs> {
  /** The file's name. */
  readonly name: string;
  /** What it does, in one line. */
  readonly brief: string;
  /** A command line that uses it. */
  readonly example: string;
  /** Whether it writes a checkpoint to stdout. */
  readonly writes: boolean;
  /** Its arguments. */
  readonly args: Parser<"sync", T, unknown>;
  /** Runs the phase on an open device. */
  readonly work: (device: Device, args: T, context: Context) => Promise<void>;
}

/** Runs a phase as the process's only work, and ends the process. */
export async function runPhase<T extends PhaseArgs>(script: PhaseScript<T>): Promise<never> {
  const signals = watchSignals(script.name, (exitCode) => process.exit(exitCode));
  const parsed = await parseWords(script.args, process.argv.slice(2), {
    program: script.name,
    called: script.name,
    version: deno.version,
    help: {
      brief: [text(script.brief)],
      usageLine: [{ type: "literal", value: "DEVICE [OPTIONS]" }],
      description: [text("Example:"), lineBreak(), text(`  $ ${script.example}`)],
    },
    signals,
    commands: false,
  });
  if ("exitCode" in parsed) process.exit(parsed.exitCode);
  const args = parsed.value;
  const context = new Context({
    called: script.name,
    schema: script.name,
    json: false,
    quiet: args.quiet,
    signals,
  });
  context.resultFd = STDERR;
  const work = async (): Promise<number> => {
    if (script.writes) refuseTerminal();
    await using device = await openDevice(args.device, {
      ...openOptions(args, [args.device], context),
      dataFdSockets: lentDataFdSockets(args.device),
    });
    context.drivers = [device];
    refuseQuirk(args, [device]);
    // A device without migration refuses this, with the reasons.
    await device.state();
    using _progress = showProgress({
      verb: script.name,
      name: args.device,
      now: () => device.progress(),
    }, context);
    try {
      // The process at the other end of a pipe may never continue: do not wait for it.
      await context.until(script.work(device, args, context));
    } catch (error) {
      throw await recovered(device, error);
    }
    const precopied = await device.precopyReport();
    if (precopied !== null) context.note(precopyWords("", precopied));
    const found = standstill(await device.stateChanges());
    if (found !== null) context.note(`The device ${standstillWords(found)}`);
    return 0;
  };
  process.exit(await context.conclude(() => traced(args, context, work)));
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
