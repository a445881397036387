/**
 * Starting programs in the guest: the command line under Deno and Bun, the C
 * client, shells.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { constants } from "node:os";
import process from "node:process";

function variable(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}

const PROJECT = variable("PROJECT");
const DENO = variable("DENO");
const BUN = variable("BUN");
const PERMISSIONS = [
  ...["--allow-ffi", "--allow-read", "--allow-write", "--allow-run", "--allow-env"],
];

/** The words that start a script of the project in a runtime. */
export type Runtime = (script: string) => string[];

/** Deno, with the permissions that the command line names itself. */
export const deno: Runtime = (script) => [
  ...[DENO, "run", "--cached-only", "--no-prompt", ...PERMISSIONS],
  `${PROJECT}/${script}`,
];

/** Bun. */
export const bun: Runtime = (script) => [BUN, "run", `${PROJECT}/${script}`];

/** The command line, as words to go before a command. */
export function vfiokit(runtime: Runtime = deno): string[] {
  return runtime("cli/main.ts");
}

/** A phase's own script, as words. */
export function phase(
  name: "precopy" | "stop_and_copy" | "resume",
  runtime: Runtime = deno,
): string[] {
  return runtime(`cli/phases/${name}.ts`);
}

/** How a program ended. */
export interface Ended {
  /** Its exit code, as a shell has it: 128+n where signal n ended it. */
  readonly code: number;
  /** What it printed. */
  readonly stdout: string;
  /** What it printed on stderr. */
  readonly stderr: string;
}

/** A program that runs. */
export interface Started {
  /** Sends it a signal. */
  kill(signal: NodeJS.Signals): void;
  /** Resolves when it has ended and all it printed was read. */
  readonly ended: Promise<Ended>;
}

/** Who starts a program: root where nothing is said. */
interface User {
  /** The user's number. */
  readonly uid?: number;
}

/** Starts a program. */
export function start(words: readonly string[], user: User = {}): Started {
  const [program, ...args] = words;
  const child = spawn(program ?? "", args, { stdio: ["ignore", "pipe", "pipe"], ...user });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text) => stdout += text);
  child.stderr.setEncoding("utf8").on("data", (text) => stderr += text);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const shellCode = signal === null ? code ?? 1 : 128 + constants.signals[signal];
      resolve({ code: shellCode, stdout, stderr });
    });
  });
  // Not child.kill: Deno then reports the signal as the end, whatever the exit code was.
  const kill = (signal: NodeJS.Signals): void => {
    assert.ok(child.pid);
    process.kill(child.pid, signal);
  };
  return { kill, ended };
}

/** Runs a program to its end. */
export async function run(words: readonly string[], user?: User): Promise<Ended> {
  return await start(words, user).ended;
}

/** Runs a program that must end with an exit code; returns what it printed. */
export async function expectExit(
  code: number,
  words: readonly string[],
  user?: User,
): Promise<Ended> {
  const ended = await run(words, user);
  assert.equal(
    ended.code,
    code,
    `${words.join(" ")}: exit ${ended.code}\n${ended.stdout}${ended.stderr}`,
  );
  return ended;
}

/**
 * How a command of ours ended that ran a program: stdout is the program's, and the report is on
 * stderr. Here the report is its stdout.
 */
export function reported({ code, stdout, stderr }: Ended): Ended {
  return { code, stdout: stderr, stderr: stdout };
}

/**
 * Asks a table of calls that the simulator answers in the project's tests: no
 * answer may be another one, and so many calls at least must have been asked.
 */
export async function askTable(
  script: string,
  least: number,
  ...words: readonly string[]
): Promise<void> {
  const { code, stdout, stderr } = await run([...deno(script), ...words]);
  const lines = stdout.split("\n").filter((line) => line !== "");
  const rows: { ok: boolean }[] = lines.map((line) => JSON.parse(line));
  assert.deepEqual(rows.filter(({ ok }) => !ok), []);
  assert.equal(code, 0, stderr);
  assert.ok(rows.length > least, `only ${rows.length} were asked: ${stderr}`);
}

/** Words of a shell script, quoted. */
export function quoted(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
}

/** The driver's window, as the program `window` prints it. */
export interface Window {
  /** Violations since the device was opened. */
  readonly violations: number;
  /** Whether the state differs from what the device's seed made. */
  readonly differs: boolean;
  /** Bytes of state. */
  readonly size: number;
  /** CRC-32 of the state. */
  readonly crc: number;
  /** The state bits of device_state. */
  readonly deviceState: number;
  /** Pages that the device changed by itself since it was opened. */
  readonly changedPages: number;
}

/** Runs a script under `with`, and then looks at the window. */
export async function underWith(runtime: Runtime, uuid: string, script: string): Promise<Window> {
  const words = [...vfiokit(runtime), "with", uuid, "--quiet", "--"];
  return lastJson(await expectExit(0, [...words, "sh", "-c", `${script} && window`]));
}

/** The last line that a program printed, as JSON. */
export function lastJson<T>(ended: Ended): T {
  return JSON.parse(ended.stdout.trimEnd().split("\n").at(-1) ?? "");
}

/** The whole of what a program printed, as JSON. */
export function wholeJson<T>(ended: Ended): T {
  return JSON.parse(ended.stdout);
}

/** What the C client prints. */
export interface ClientReport {
  readonly bytes: number;
  readonly transactions: number;
  readonly seconds: number;
  readonly crc: number;
  readonly violations: number;
  readonly changedPages: number;
}

/** Runs the C client. */
export async function client(...args: string[]): Promise<ClientReport> {
  return lastJson(await expectExit(0, ["v1client", ...args]));
}
