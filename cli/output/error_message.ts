/**
 * From an error to its message, hints and exit code.
 *
 * @module
 */

import { AnswerError, DeviceNameError, DmaError, type Reason } from "../../src/vfio/mod.ts";
import {
  BusyError,
  CheckpointError,
  CheckpointFileError,
  cleanupErrors,
  firstError,
  IdentityError,
  MigrationError,
  OpenError,
  type StateName,
  TransferError,
  UnsupportedError,
} from "../../mod.ts";
import { CheckError } from "../../src/check/mod.ts";
import { ChainError } from "../../src/live/mod.ts";
import { DirtyRangeError } from "../../src/dirty/mod.ts";
import { SimSpecError } from "../../src/sim/mod.ts";
import { SysError } from "../../src/kernel/mod.ts";
import { ReplayError, TraceError, TraceFileError } from "../../src/trace/mod.ts";
import { PausedVmError, ProcessDeviceError, QmpError, VmmFileError } from "../../src/vmm/mod.ts";
import { shellFile } from "../../src/base/shell.ts";
import { isSnapshot } from "../vmm_files/snapshot_folder.ts";
import { hintWords, reasonHint } from "./hint.ts";
import { SamplesError } from "../dirty/samples.ts";
import { exitCodeOf } from "../exit_codes.ts";
import { Interrupted } from "../signals.ts";
import { UsageError } from "../usage_error.ts";

/** The report of an error. */
export interface Explanation {
  /** What failed. */
  readonly message: string;
  /** What to do next, one item per line. */
  readonly hints: readonly string[];
  /** A stable word. */
  readonly code: string;
  /** The errno's name if a kernel call failed. */
  readonly errno: string | null;
  /** The device's state now, if it may have changed. */
  readonly deviceState: StateName | null;
  /** Errors of the cleanup, one message each. */
  readonly cleanup: readonly string[];
  /** The exit code. */
  readonly exitCode: number;
}

/** A class of errors. */
type Kind<T extends Error> = abstract new (...args: never[]) => T;

/**
 * Makes the report of an error.
 *
 * @param reason Why the command was aborted, if it was.
 * @param device The name of the only device that was driven.
 */
export function explain(thrown: unknown, reason: unknown, device?: string): Explanation {
  const error = firstError(thrown);
  const chain = causes(error);
  const find = <T extends Error>(kind: Kind<T>): T | undefined =>
    chain.find((cause): cause is T => cause instanceof kind);
  const replay = find(ReplayError);
  // What came of it afterwards is no device's doing.
  if (replay !== undefined && replay !== error) return explain(replay, reason);
  const migration = find(MigrationError);
  const transfer = find(TransferError);
  const paused = find(PausedVmError);
  const interrupted = reason instanceof Interrupted ? reason : find(Interrupted);
  return {
    message: message(chain, interrupted),
    hints: hints(chain, device),
    code: code(chain, interrupted),
    errno: transfer?.errno ?? migration?.errno ?? find(SysError)?.code ?? nodeErrno(chain),
    deviceState: paused?.deviceState ??
      (transfer === undefined ? migration?.deviceState ?? null : stateOf(transfer)),
    cleanup: cleanupErrors(error).map(({ message }) => message),
    exitCode: exitCodeOf(chain, interrupted?.signalName),
  };
}

/**
 * The state of the only device, or of the one that matters most: one that failed, else one that does
 * not run, else one that was brought back.
 */
function stateOf({ devices, failed }: TransferError): StateName | null {
  if (devices.length === 1) return devices[0]!.state;
  const stopped = devices.find(({ state }) => state !== "running" && state !== null);
  const recovered = devices.find(({ recovery }) => recovery !== "none");
  return (failed[0] ?? stopped ?? recovered)?.state ?? null;
}

function causes(error: unknown): Error[] {
  const chain: Error[] = [];
  for (let next = error; next instanceof Error && !chain.includes(next); next = next.cause) {
    chain.push(next);
  }
  return chain.length > 0 ? chain : [new Error(String(error))];
}

function message(chain: readonly Error[], interrupted: Interrupted | undefined): string {
  const first = chain[0]?.message ?? "";
  if (interrupted === undefined || first.includes(interrupted.message)) return first;
  return chain[0]?.name === "AbortError" ? interrupted.message : `${interrupted.message}: ${first}`;
}

function code(chain: readonly Error[], interrupted: Interrupted | undefined): string {
  if (interrupted !== undefined) return "interrupted";
  for (const error of chain) {
    if (error instanceof TransferError) return error.code;
    if (error instanceof MigrationError || error instanceof CheckpointError) return error.code;
    if (error instanceof UnsupportedError) return error.reasons[0]?.code ?? "unsupported";
    if (error instanceof OpenError) return error.code;
    if (error instanceof BusyError) return "busy";
    if (error instanceof CheckError || error instanceof ChainError) return error.code;
    if (error instanceof IdentityError) return "identity";
    if (error instanceof AnswerError) return "broken-answer";
    if (error instanceof SysError || error instanceof CheckpointFileError) return "system-call";
    if (error instanceof TraceFileError) return "system-call";
    if (error instanceof TraceError || error instanceof ReplayError) return error.code;
    if (error instanceof VmmFileError || error instanceof ProcessDeviceError) return error.code;
    if (error instanceof PausedVmError || error instanceof QmpError) return error.code;
    if (error instanceof DeviceNameError || error instanceof SimSpecError) return "bad-name";
    if (error instanceof UsageError) return "usage";
    if (error instanceof DirtyRangeError) return "bad-range";
    if (error instanceof SamplesError) return "bad-samples";
    if (isRefusal(error)) return "permission";
  }
  return nodeErrno(chain) === null ? "failed" : "system-call";
}

function hints(chain: readonly Error[], device: string | undefined): string[] {
  const said: string[] = [];
  // What was done since counts, and not what the causes advise.
  const paused = chain.find((error) => error instanceof PausedVmError);
  if (paused !== undefined) return [hintWords(paused.hint, device)].filter((hint) => hint !== "");
  const transfer = chain.find((error) => error instanceof TransferError);
  if (transfer !== undefined) said.push(hintWords(transfer.hint, device));
  // An error has the reasons of its causes, and may have added to them.
  said.push(...reasonHints(chain.find(hasReasons)));
  for (const error of chain) {
    if (error instanceof ChainError && error.code === "no-checkpoint") {
      said.push(snapshotHint(error.folder));
    }
    if (error instanceof SimSpecError) said.push('see "vfiokit probe sim:help"');
    if (error instanceof SamplesError) {
      said.push(
        "the samples are what this prints: vfiokit dirty watch DEVICE --map IOVA:SIZE --json",
      );
    }
    const one = error instanceof MigrationError || error instanceof CheckpointFileError;
    // The hint for all devices counts.
    if (one && transfer === undefined) said.push(hintWords(error.hint, device));
    if (
      error instanceof DmaError || error instanceof IdentityError ||
      error instanceof CheckError || error instanceof TraceFileError ||
      error instanceof VmmFileError || error instanceof ProcessDeviceError ||
      (error instanceof CheckpointError && transfer === undefined)
    ) said.push(hintWords(error.hint, device));
  }
  // Causes often repeat the message.
  return [...new Set(said)].filter((hint) => hint !== "");
}

/** What to do with a folder that has no checkpoint, but is a snapshot of cloud-hypervisor's. */
function snapshotHint(folder: string): string {
  return isSnapshot(folder)
    ? "It is a snapshot of cloud-hypervisor's. Make a checkpoint of it first: " +
      `vfiokit import cloud-hypervisor ${shellFile(folder)} -o CHECKPOINT`
    : "";
}

type WithReasons = UnsupportedError | OpenError | BusyError;

function hasReasons(error: Error): error is WithReasons {
  return error instanceof UnsupportedError || error instanceof OpenError ||
    error instanceof BusyError;
}

function reasonHints(error: WithReasons | undefined): string[] {
  if (error === undefined) return [];
  if (error instanceof BusyError) return [...error.reasons.map(wholly), hintWords(error.hint)];
  // The first reason is the error's message.
  const [first, ...others] = error.reasons;
  return [...(first === undefined ? [] : [reasonHint(first)]), ...others.map(wholly)];
}

/** Reasons that the error's message does not contain. */
function wholly(reason: Reason): string {
  const hint = reasonHint(reason);
  return hint === "" ? reason.message : `${reason.message}. ${hint}`;
}

/** The errno's name of a file that could not be read or written. */
function nodeErrno(chain: readonly Error[]): string | null {
  for (const error of chain) {
    const { code } = error as { code?: unknown };
    if (typeof code === "string" && /^E[A-Z0-9]+$/.test(code)) return code;
  }
  return null;
}

/** Whether Deno refused because a permission flag is missing. */
function isRefusal(error: Error): boolean {
  return error.name === "NotCapable";
}
