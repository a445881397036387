/**
 * The exit codes: what they mean, and which error ends with which.
 *
 * It knows errors by their names: the command line's start must not load the library.
 *
 * @module
 */

import { constants } from "node:os";
import type { CheckErrorCode } from "../src/check/mod.ts";
import type { PausedVmError, ProcessDeviceError, VmmFileError } from "../src/vmm/mod.ts";
import type { MigrationError } from "../mod.ts";

/** It is done. */
export const DONE = 0;
/** It failed. */
export const FAILED = 1;
/** The command line makes no sense. */
export const USAGE = 2;
/** The device or the kernel cannot do this. */
export const CANNOT = 3;
/** The checkpoint is bad, or not for this device. */
export const BAD_CHECKPOINT = 4;
/** The device is in ERROR, or its state is unknown. */
export const NEEDS_RESET = 5;
/** A program that was to be run cannot be, as shells say it. */
export const NOT_RUNNABLE = 126;
/** A program that was to be run was not found, as shells say it. */
export const NOT_FOUND = 127;

/** The exit codes and their meanings, for help and manual. */
export const EXIT_CODES: readonly (readonly [code: string, meaning: string])[] = [
  [`${DONE}`, "done"],
  [`${FAILED}`, "failed"],
  [`${USAGE}`, "wrong usage"],
  [`${CANNOT}`, "the device or the kernel cannot do this"],
  [`${BAD_CHECKPOINT}`, "the checkpoint is bad, or not for this device"],
  [`${NEEDS_RESET}`, "the device is in ERROR or its state is unknown: it needs a reset"],
  ["128+n", "ended by signal n"],
];

/** The exit code of a process that a signal ended: 128+n. */
export function exitCodeOfSignal(name: NodeJS.Signals): number {
  return 128 + constants.signals[name];
}

/** The exit code of each class of errors; the largest one along the causes counts. */
export const EXIT_CODES_BY_CLASS: Readonly<Record<string, number>> = {
  AnswerError: CANNOT,
  BusyError: FAILED,
  CapabilityError: CANNOT,
  ChainError: BAD_CHECKPOINT,
  CheckError: USAGE,
  CheckpointError: BAD_CHECKPOINT,
  CheckpointFileError: FAILED,
  ClosedError: FAILED,
  DeviceClosedError: FAILED,
  DeviceNameError: USAGE,
  DirtyRangeError: USAGE,
  DmaError: FAILED,
  IdentityError: BAD_CHECKPOINT,
  JournalError: FAILED,
  LiveError: FAILED,
  MigrationError: FAILED,
  OpenError: FAILED,
  PausedVmError: FAILED,
  ProcessDeviceError: FAILED,
  QmpError: FAILED,
  ReadBackError: FAILED,
  ReplayError: FAILED,
  SamplesError: FAILED,
  SimSpecError: USAGE,
  SocketFileError: FAILED,
  StdoutError: FAILED,
  SysError: FAILED,
  TcpError: FAILED,
  ThreadError: FAILED,
  TraceError: BAD_CHECKPOINT,
  TraceFileError: FAILED,
  TransferError: FAILED,
  UnsupportedError: CANNOT,
  UsageError: USAGE,
  VmmFileError: BAD_CHECKPOINT,
  WireError: FAILED,
  WriteProtectionError: FAILED,
};

/** The exit code of an error by its class and its code, where it is not that of its class. */
const BY_CODE: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  MigrationError: {
    "no-precopy": CANNOT,
    "no-such-arc": CANNOT,
    "no-such-state": CANNOT,
    "needs-newer-driver": CANNOT,
    // A driver says by these that a state is not for its device.
    "incompatible-state": BAD_CHECKPOINT,
    "state-too-long": BAD_CHECKPOINT,
    "state-refused": BAD_CHECKPOINT,
  } satisfies Partial<Record<MigrationError["code"], number>>,
  ProcessDeviceError: { "bad-name": USAGE } satisfies Partial<
    Record<ProcessDeviceError["code"], number>
  >,
  PausedVmError: { "left-paused": NEEDS_RESET } satisfies Partial<
    Record<PausedVmError["code"], number>
  >,
  VmmFileError: {
    "unsupported": CANNOT,
  } satisfies Partial<Record<VmmFileError["code"], number>>,
  TcpError: { "bad-address": USAGE },
  CheckError: { "not-running": NEEDS_RESET } satisfies Partial<Record<CheckErrorCode, number>>,
};

/** An error, as far as its exit code goes. */
interface Failure {
  readonly name: string;
  readonly code?: unknown;
  /** Whether the device that it is about needs a reset. */
  readonly lost?: boolean;
}

/**
 * The exit code of a command that an error ended.
 *
 * @param chain The error and its causes.
 * @param signal The signal that ended it, if one did.
 */
export function exitCodeOf(
  chain: readonly Failure[],
  signal: NodeJS.Signals | undefined,
): number {
  // Nothing was done to a device: what was recorded is over.
  if (chain.some(({ name }) => name === "ReplayError")) return FAILED;
  if (needsReset(chain)) return NEEDS_RESET;
  if (signal !== undefined) return exitCodeOfSignal(signal);
  // The checkpoint that is bad was the command's own, and is not left: the save has failed.
  if (chain.some(({ name }) => name === "ReadBackError")) return FAILED;
  return Math.max(FAILED, ...chain.map(codeOf));
}

/** The outer error counts: what an inner one says of a device's state may have changed since. */
function needsReset(chain: readonly Failure[]): boolean {
  const first = (wanted: string): Failure | undefined => chain.find(({ name }) => name === wanted);
  const paused = first("PausedVmError");
  if (paused !== undefined) return paused.code === "left-paused";
  return (first("TransferError") ?? first("MigrationError"))?.lost === true;
}

function codeOf({ name, code }: Failure): number {
  return BY_CODE[name]?.[code as string] ?? EXIT_CODES_BY_CLASS[name] ?? FAILED;
}
