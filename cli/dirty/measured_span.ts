/**
 * The span in which a device works before it is read: a program that it is lent to, or a time.
 *
 * @module
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { MappedDevice } from "../../src/dirty/mod.ts";
import { type Inheritance, runProgram } from "../lending/run_program.ts";
import type { Context } from "../context.ts";
import { lendableVfio } from "../lending/open_devices.ts";
import { exitCodeOfWaiting } from "../signals.ts";

/** How long to wait if neither a time nor a program is given, in milliseconds. */
const WAIT_MS = 1000;
/** The longest that a timer can wait. */
const FOREVER_MS = 2 ** 31 - 1;

/** The parts of a session that a program is lent. */
export type Lending = Pick<MappedDevice, "device" | "fds" | "mapped" | "mappings">;

/** The parsed options about what happens before a read. */
export interface WaitArgs {
  /** `--after`, in milliseconds. */
  readonly after?: number | undefined;
  /** The program. */
  readonly command?: readonly string[] | undefined;
}

/** What runs while a device is measured. */
export interface Span {
  /** The end of the program, or a signal. */
  readonly ended: AbortSignal;
  /** The exit code, once everything has ended: that of the program, or of a signal. */
  exitCode(): Promise<number>;
}

/**
 * Starts the program, which inherits the device, its group and container or its
 * iommufd, and the memory; without a program it only waits for a signal.
 */
export function startSpan(
  { device, fds, mapped, mappings }: Lending,
  command: readonly string[] | undefined,
  context: Context,
): Span {
  const memory = {
    fd: fds.memory,
    mappings: mappings.map(({ iova, size }) => ({
      iova,
      size,
      offset: mapped.find((own) => own.iova === iova)?.offset ?? null,
    })),
  };
  return spanOf({ devices: [lendableVfio(device)], memory }, command, context);
}

/** Starts the program, which inherits what is given; without a program it only waits for a signal. */
export function spanOf(
  inheritance: Inheritance,
  command: readonly string[] | undefined,
  context: Context,
): Span {
  const { signal } = context;
  if (command === undefined) {
    return { ended: signal, exitCode: () => Promise.resolve(exitCodeOfWaiting(signal)) };
  }
  const ended = new AbortController();
  const program = runProgram(command, inheritance, context).finally(() => ended.abort());
  return { ended: ended.signal, exitCode: () => program };
}

/** Waits this many milliseconds, or until the signal is aborted. */
export async function pause(milliseconds: number, end: AbortSignal): Promise<void> {
  try {
    await sleep(Math.max(0, milliseconds), undefined, { signal: end });
  } catch (error) {
    if (!end.aborted) throw error;
  }
}

/**
 * Lets the device work, for the time of `--after` or until the program ends,
 * whichever is first; then `look`s, and waits for the program's end.
 *
 * @returns The exit code.
 */
export async function readAfterSpan(
  session: Lending,
  { after, command }: WaitArgs,
  context: Context,
  look: () => unknown,
): Promise<number> {
  const { ended, exitCode } = startSpan(session, command, context);
  return await beforeEnd(exitCode, async () => {
    await pause(after ?? (command === undefined ? WAIT_MS : FOREVER_MS), ended);
    await look();
  });
}

/**
 * Does some work, and then waits for the program's end, so that the device is not closed under it.
 *
 * @returns The exit code.
 */
export async function beforeEnd(
  exitCode: Span["exitCode"],
  work: () => Promise<void>,
): Promise<number> {
  {
    await using ending = new AsyncDisposableStack();
    ending.defer(async () => void await exitCode());
    await work();
  }
  return await exitCode();
}
