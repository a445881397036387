/**
 * Running a program that inherits open devices.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { type Device, printable } from "../../mod.ts";
import type { Context } from "../context.ts";
import { DataFdSocketPairs } from "./data_fd_sockets.ts";
import { DONE, exitCodeOfSignal, FAILED, NOT_FOUND, NOT_RUNNABLE } from "../exit_codes.ts";
import { Interrupted, type SignalName } from "../signals.ts";
import { STDERR, writeText } from "../output/stdio.ts";
import { UsageError } from "../usage_error.ts";

/** The first fd that a program finds a device at. */
const FIRST_FD = 3;

/**
 * Refuses to lend what no program can inherit, before anything is done to it.
 *
 * @throws {UsageError} If one of the names is a trace's, or a device's of another server.
 */
export function refuseUnlendable(names: readonly string[]): void {
  const served = names.find((name) => name.startsWith("vfio-user:"));
  if (served !== undefined) {
    throw new UsageError(
      `Cannot lend "${served}" to a program: its server serves this process alone`,
    );
  }
  const replayed = names.find((name) => name.startsWith("replay:"));
  if (replayed !== undefined) {
    throw new UsageError(`Cannot lend "${replayed}" to a program: a trace has no fd to inherit`);
  }
}

/** What lending needs to know of an open device. */
export interface Lendable {
  /** What it is called. */
  readonly name: string;
  /** Its fds in this process. */
  readonly fds: Device["description"]["fds"];
  /** The IOAS in its iommufd that it is attached to; null if there is none. */
  readonly ioas: Device["description"]["ioas"];
  /** Its migration protocol; null if it has none. */
  readonly protocol: Device["description"]["protocol"];
}

/** What lending needs to know of memory that devices write to. */
export interface LentMemory {
  /** The fd by which all of it can be mapped; null if there is none. */
  readonly fd: number | null;
  /** Which part of it is at which IOVA; a mapping of another process has no offset. */
  readonly mappings: readonly {
    readonly iova: bigint;
    readonly size: bigint;
    readonly offset: number | null;
  }[];
}

/** The fds at which a program finds a device. */
interface Lent {
  readonly name: string;
  readonly device: number;
  readonly group: number | null;
  readonly container: number | null;
  readonly iommufd: number | null;
  readonly ioas: number | null;
  /**
   * Where its data fd is put for the next program, and taken from the previous one; null except for
   * v2.
   */
  readonly data: readonly [put: number, take: number] | null;
}

/** What a program inherits. */
export interface Inheritance {
  /** The devices. */
  readonly devices: readonly Lendable[];
  /** Memory to lend with them. */
  readonly memory?: LentMemory | undefined;
  /** The socket on which it is asked and told what happens to the device (docs/attach.md). */
  readonly attach?: number | undefined;
}

/** A program that was started, or could not be. */
export interface RunningProgram {
  /** Whether it was started; if not, the exit code says why. */
  readonly started: Promise<boolean>;
  /**
   * Aborted, with an {@linkcode Interrupted}, when a signal is passed on to it; after a Ctrl-C at a
   * terminal, which reaches it without us, when that ends it.
   */
  readonly interrupted: AbortSignal;
  /** Its exit code: 128+n after signal n, 127 if it was not found, 126 if it cannot be run. */
  readonly exitCode: Promise<number>;
}

/**
 * Runs a program with the fds of devices, and passes signals on to it. If one came before, no program
 * is run.
 *
 * @param stdoutTaken Whether our stdout carries a checkpoint: then the program's goes to stderr.
 * @returns Its exit code, as of {@linkcode RunningProgram}.
 */
export function runProgram(
  words: readonly string[],
  inheritance: Inheritance,
  context: Context,
  stdoutTaken = false,
): Promise<number> {
  return runMeanwhile(words, inheritance, context, stdoutTaken).exitCode;
}

/** Starts a program as {@linkcode runProgram} does, for a caller with work to do while it runs. */
export function runMeanwhile(
  words: readonly string[],
  inheritance: Inheritance,
  context: Context,
  stdoutTaken = false,
): RunningProgram {
  const started = Promise.withResolvers<boolean>();
  const interruption = new AbortController();
  const run = async (): Promise<number> => {
    // Came before there was a program to pass it on to.
    const { reason } = context.signal;
    if (reason instanceof Interrupted) return exitCodeOfSignal(reason.signalName);
    using sockets = new DataFdSocketPairs();
    const stdio = [0, stdoutTaken ? 2 : 1, 2] as const;
    const child = startProgram(words, inheritance, sockets, stdio);
    if (typeof child === "number") return child;
    child.once("spawn", () => started.resolve(true));
    return await ended(child, words[0] ?? "", context, interruption);
  };
  const exitCode = run().then((code) => {
    if (code !== DONE) {
      context.endedBy("program-failed", `The program ended with exit code ${code}`);
    }
    return code;
  }).finally(() => started.resolve(false));
  return { started: started.promise, interrupted: interruption.signal, exitCode };
}

/**
 * Starts a program with the fds of devices.
 *
 * @param stdio Its stdin, stdout and stderr.
 * @returns The process, or the exit code if it cannot be run.
 */
export function startProgram(
  words: readonly string[],
  { devices, memory, attach }: Inheritance,
  sockets: DataFdSocketPairs,
  stdio: readonly [stdin: number | "ignore", stdout: number, stderr: number],
): ChildProcess | number {
  const [program, ...args] = words;
  const { lent, inherited } = lend(devices, sockets);
  const variables = {
    ...environment(lent),
    ...memoryEnvironment(memory, inherited),
    ...(attach === undefined
      ? {}
      : { VFIOKIT_ATTACH_FD: String(FIRST_FD + inherited.push(attach) - 1) }),
  };
  return start(program ?? "", args, {
    stdio: [...stdio, ...inherited],
    env: { ...withoutOurs(process.env), ...variables },
  });
}

/**
 * Numbers the fds from 3 on; a device has a group and a container, or an iommufd, or none of them.
 * The sockets for data fds come after those.
 */
function lend(
  devices: readonly Lendable[],
  sockets: DataFdSocketPairs,
): { lent: Lent[]; inherited: number[] } {
  const inherited: number[] = [];
  const give = (fd: number): number => FIRST_FD + inherited.push(fd) - 1;
  const giveIfAny = (fd: number | null): number | null => fd === null ? null : give(fd);
  const opened = devices.map(({ name, fds, ioas }) => ({
    name,
    device: give(fds.device),
    group: giveIfAny(fds.group),
    container: giveIfAny(fds.container),
    iommufd: giveIfAny(fds.iommufd),
    ioas,
  }));
  const lent = opened.map((device, index) => {
    if (devices[index]!.protocol !== "v2") return { ...device, data: null };
    const { put, take } = sockets.add();
    return { ...device, data: [give(put), give(take)] as const };
  });
  return { lent, inherited };
}

function environment(lent: readonly Lent[]): Record<string, string> {
  const variables: Record<string, string> = { VFIOKIT_DEVICES: JSON.stringify(lent) };
  const [only, ...others] = lent;
  if (only === undefined || others.length > 0) return variables;
  variables["VFIOKIT_DEVICE_FD"] = String(only.device);
  if (only.group !== null) variables["VFIOKIT_GROUP_FD"] = String(only.group);
  if (only.container !== null) variables["VFIOKIT_CONTAINER_FD"] = String(only.container);
  if (only.iommufd !== null) variables["VFIOKIT_IOMMUFD_FD"] = String(only.iommufd);
  if (only.ioas !== null) variables["VFIOKIT_IOAS_ID"] = String(only.ioas);
  return variables;
}

/** Describes the memory, whose fd follows those of the devices. */
function memoryEnvironment(
  memory: LentMemory | undefined,
  inherited: number[],
): Record<string, string> {
  if (memory === undefined) return {};
  const mappings = memory.mappings.map(({ iova, size, offset }) => ({
    iova: `0x${iova.toString(16)}`,
    size: Number(size),
    offset,
  }));
  const variables = { VFIOKIT_MAPPINGS: JSON.stringify(mappings) };
  if (memory.fd === null) return variables;
  return { ...variables, VFIOKIT_MEMORY_FD: String(FIRST_FD + inherited.push(memory.fd) - 1) };
}

/** The environment without the variable of an outer `vfiokit with`. */
function withoutOurs(variables: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(variables).filter(([name]) => !name.startsWith("VFIOKIT_")),
  );
}

function start(
  program: string,
  args: readonly string[],
  options: { readonly stdio: (number | "ignore")[]; readonly env: NodeJS.ProcessEnv },
): ChildProcess | number {
  try {
    return spawn(program, args, options);
  } catch (error) {
    // Bun throws what Node and Deno emit.
    return cannotRun(program, error);
  }
}

function cannotRun(program: string, error: unknown): number {
  const { code, message } = error as { code?: unknown; message: string };
  if (code === "ENOENT") {
    writeText(STDERR, `vfiokit: Cannot run "${printable(program)}": no such program\n`);
    return NOT_FOUND;
  }
  if (typeof code !== "string") throw error;
  writeText(STDERR, printable(`vfiokit: Cannot run "${program}": ${message}`) + "\n");
  return NOT_RUNNABLE;
}

async function ended(
  child: ChildProcess,
  program: string,
  context: Context,
  interruption: AbortController,
): Promise<number> {
  /** The Ctrl-C that reaches the program without us. */
  let typed: SignalName | null = null;
  const passOn = (name: SignalName): void => {
    if (name === "SIGINT" && process.stdin.isTTY) {
      typed = name;
      return;
    }
    if (child.pid !== undefined) signalTo(child.pid, name);
    context.hurry(name);
    interruption.abort(new Interrupted(name));
  };
  const stopPassingOn = context.signals.divert(passOn);
  try {
    return await new Promise((resolve, reject) => {
      child.once("error", (error) => {
        try {
          resolve(cannotRun(program, error));
        } catch (unexpected) {
          reject(unexpected);
        }
      });
      child.once("exit", (code, signal) => {
        const exitCode = signal === null ? code ?? FAILED : exitCodeOfSignal(signal);
        // Programs that clean up after a signal often end with its exit code.
        if (typed !== null && (signal !== null || exitCode === exitCodeOfSignal(typed))) {
          interruption.abort(new Interrupted(typed));
        }
        resolve(exitCode);
      });
    });
  } finally {
    stopPassingOn();
  }
}

/** Sends a signal to the program, unless it has just ended. */
function signalTo(pid: number, name: SignalName): void {
  try {
    // Not child.kill: Deno would then report the signal and not the exit code.
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
