/**
 * Runs command lines: in a process that takes one after the other, or in one of their own.
 */

import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";
import { command } from "../cli/_cli.ts";
import { ENDED, type Request } from "./_command_host.ts";
import { Find } from "./_kind.ts";

/** How a command line ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: Uint8Array<ArrayBuffer>;
  readonly stderr: string;
}

/** After its signal a command has so long to end. */
const LIMIT_MS = 20_000;

const env = { ...process.env, NO_COLOR: "1" };

/** A process that takes one command line after the other. */
export class Commander {
  readonly #folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-fuzz-host-"));
  readonly #stdout = path.join(this.#folder, "stdout");
  #child: ChildProcess | null = null;
  #stderr = "";
  #heard: () => void = () => {};

  #start(): ChildProcess {
    const stdout = fs.openSync(this.#stdout, "a");
    const [program, ...args] = command({ script: "tests/fuzz/_command_host.ts" });
    // Where the files lie that a command line names by a word of chance.
    const cwd = path.join(this.#folder, "cwd");
    fs.mkdirSync(cwd, { recursive: true });
    const child = spawn(program, args, { stdio: ["pipe", stdout, "pipe"], env, cwd });
    fs.closeSync(stdout);
    child.stderr!.on("data", (data) => {
      this.#stderr += String(data);
      this.#heard();
    });
    child.on("close", (code, signal) => {
      this.#stderr += `${ENDED}${JSON.stringify({ thrown: `it has ended: ${signal ?? code}` })}\n`;
      this.#child = null;
      this.#heard();
    });
    child.stdin!.on("error", () => {});
    return child;
  }

  /** Runs a command line to its end. */
  async run(request: Request): Promise<Ended> {
    const child = this.#child ??= this.#start();
    this.#stderr = "";
    fs.truncateSync(this.#stdout);
    const ended = new Promise<string>((resolve) => {
      this.#heard = () => {
        const at = this.#stderr.indexOf(ENDED);
        if (at >= 0 && this.#stderr.indexOf("\n", at) > 0) resolve(this.#stderr.slice(at));
      };
    });
    child.stdin!.write(JSON.stringify(request) + "\n");
    const timer = Promise.withResolvers<null>();
    const timeout = setTimeout(() => timer.resolve(null), request.after + LIMIT_MS);
    const line = await Promise.race([ended, timer.promise]);
    clearTimeout(timeout);
    const stderr = this.#stderr.slice(0, Math.max(0, this.#stderr.indexOf(ENDED)));
    if (line === null) {
      child.kill("SIGKILL");
      this.#child = null;
      throw new Find("hang", `it did not end after ${request.signal}: ${stderr}`);
    }
    const answer = JSON.parse(line.slice(ENDED.length).split("\n")[0]!) as
      | { readonly exitCode: number }
      | { readonly thrown: string };
    if ("thrown" in answer) throw new Find("thrown", answer.thrown);
    return {
      code: answer.exitCode,
      stdout: new Uint8Array(fs.readFileSync(this.#stdout)),
      stderr,
    };
  }

  /** Ends the process. */
  async end(): Promise<void> {
    const child = this.#child;
    if (child !== null) {
      const closed = new Promise((resolve) => child.on("close", resolve));
      child.stdin!.end();
      await closed;
    }
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** What a process finds on its stdin; `stall`: nothing, and no end. */
export type Stdin = Uint8Array | "stall";

/** Runs a command line in a process of its own, with a real signal. */
export async function runProcess(request: Request, stdin: Stdin): Promise<Ended> {
  const [program, ...before] = command();
  const cwd = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-fuzz-cwd-"));
  const child = spawn(program, [...before, ...request.words], { stdio: "pipe", env, cwd });
  child.on("close", () => fs.rmSync(cwd, { recursive: true, force: true }));
  const stdout: Uint8Array[] = [];
  let stderr = "";
  child.stdout.on("data", (data: Uint8Array) => stdout.push(data));
  child.stderr.on("data", (data) => stderr += String(data));
  child.stdin.on("error", () => {});
  if (stdin !== "stall") child.stdin.end(stdin);
  const interrupt = setTimeout(() => {
    // Not child.kill: Deno then reports the signal as the end, whatever the exit code was.
    if (child.exitCode === null) process.kill(child.pid!, request.signal);
  }, request.after);
  let hung = false;
  const giveUp = setTimeout(() => {
    hung = true;
    child.kill("SIGKILL");
  }, request.after + LIMIT_MS);
  const { code, signal } = await new Promise<{ code: number | null; signal: string | null }>(
    (resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, signal) => resolve({ code, signal }));
    },
  );
  clearTimeout(interrupt);
  clearTimeout(giveUp);
  if (hung) throw new Find("hang", `it did not end after ${request.signal}: ${stderr}`);
  // Before the program itself watches for signals the runtime dies of them, as it should.
  const number = signal === null ? 0 : os.constants.signals[signal as NodeJS.Signals];
  if (code === null && signal !== request.signal) {
    throw new Find("crash", `it was ended by ${signal}: ${stderr}`);
  }
  const bytes = new Uint8Array(stdout.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of stdout) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return { code: code ?? 128 + number, stdout: bytes, stderr };
}
