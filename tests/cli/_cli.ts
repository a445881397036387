/** Runs the command line as a user does: a process of its own, by the runtime under test. */

import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** Whether the runtime under test is Deno; else it is Bun. */
export const IN_DENO: boolean = typeof Deno !== "undefined";

/** A file of the project by its path in it. */
export function projectFile(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}

/** A process that has not ended by then never will, in milliseconds. */
const GIVE_UP_MS = 120_000;

/** How a process ended and what it wrote. */
export interface Outcome {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: Uint8Array;
  readonly out: string;
  readonly err: string;
}

/** How to run it. */
export interface RunOptions {
  /** What it reads; without it stdin is empty. */
  readonly stdin?: Uint8Array | string;
  /** Variables on top of the test's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Deno's permission flags; all where not given. */
  readonly permissions?: readonly string[];
  /** The script; cli/main.ts where not given. */
  readonly script?: string;
  /** The fd that is its stdout; nothing of that is in the outcome. */
  readonly stdout?: number;
  /** The fd that is its stderr, likewise. */
  readonly stderr?: number;
  /** Called with the process once it runs. */
  readonly started?: (child: ReturnType<typeof spawn>) => void;
}

/** The words that start a script of the project by the runtime under test. */
export function command(options: RunOptions = {}): readonly [program: string, ...args: string[]] {
  const script = projectFile(options.script ?? "cli/main.ts");
  if (!IN_DENO) return [process.execPath, "run", script];
  // Deno adds -A to a command line of its own that names no permission.
  const { permissions: given = ["-A"] } = options;
  const permissions = given.includes("--allow-net") ? given : ["--deny-net", ...given];
  return [process.execPath, "run", "--no-prompt", "--quiet", ...permissions, script];
}

/** Runs the command line to its end. */
export function vfiokit(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const [program, ...before] = command(options);
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...before, ...args], {
      stdio: ["pipe", options.stdout ?? "pipe", options.stderr ?? "pipe"],
      env: { ...process.env, ...options.env },
    });
    const stdout: Uint8Array[] = [];
    const stderr: Uint8Array[] = [];
    child.stdout?.on("data", (chunk: Uint8Array) => stdout.push(chunk));
    child.stderr?.on("data", (chunk: Uint8Array) => stderr.push(chunk));
    // A command that doesn't read its stdin may end before it is written.
    child.stdin?.on("error", () => {});
    child.stdin?.end(options.stdin ?? "");
    child.on("error", reject);
    const giveUp = setTimeout(() => child.kill("SIGKILL"), GIVE_UP_MS);
    child.on("close", (code, signal) => {
      clearTimeout(giveUp);
      const bytes = new Uint8Array(Buffer.concat(stdout));
      resolve({
        code,
        signal,
        stdout: bytes,
        out: new TextDecoder().decode(bytes),
        err: Buffer.concat(stderr).toString(),
      });
    });
    options.started?.(child);
  });
}
