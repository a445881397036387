/**
 * Runs _child.ts under the runtime that runs the tests, from a shell.
 */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("./_child.ts", import.meta.url));
const RUN = "Deno" in globalThis ? "run --allow-all --quiet" : "run";

/** What a shell command came to. */
export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts a shell command in which `$CHILD` is the script under this runtime. */
export function start(command: string): ChildProcess {
  return spawn("bash", ["-c", command], {
    env: { ...process.env, CHILD: `${process.execPath} ${RUN} ${SCRIPT}`, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** Runs a shell command to its end. */
export function run(command: string): Promise<Ran> {
  const child = start(command);
  let stdout = "";
  let stderr = "";
  child.stdout!.on("data", (data) => stdout += data);
  child.stderr!.on("data", (data) => stderr += data);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}
