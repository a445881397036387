/**
 * A process that brings a VMM and its device together again if this one is killed.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { DONE_WORD, READY } from "./repair.ts";

/** What a repair needs in Deno. */
const PERMISSIONS = ["--no-prompt", "--quiet", "--allow-ffi", "--allow-read"];

/** The words that start this program again. */
function selfWords(): readonly [program: string, ...words: string[]] {
  const main = import.meta.url;
  // In an executable of `deno task compile` there is no file to run.
  if (!main.startsWith("file:") || main.includes("/$bunfs/")) return [process.execPath];
  const script = fileURLToPath(new URL("../../main.ts", main));
  return typeof Deno === "undefined"
    ? [process.execPath, "run", script]
    : [process.execPath, "run", "--cached-only", ...PERMISSIONS, script];
}

/**
 * A guard: `state pid:N/FD --repair --guard` in a session of its own, which a signal to this
 * process's group does not reach. It holds a duplicate of the device, and repairs when its stdin
 * ends without a word.
 */
export class Guard implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #gone: Promise<void>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#gone = new Promise((resolve) => child.once("close", () => resolve()));
  }

  /** Starts a guard, and waits until it holds the device. */
  static async start(device: string, qmp: string): Promise<Guard> {
    const [program, ...words] = selfWords();
    const args = [...words, "state", device, "--repair", "--guard", "--qmp", qmp, "--quiet"];
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"], detached: true });
    child.stdin!.on("error", () => {});
    const guard = new Guard(child);
    await new Promise<void>((resolve, reject) => {
      let said = "";
      child.stdout!.on("data", (text) => {
        said += text;
        if (said.includes(READY)) resolve();
      });
      child.once("error", reject);
      child.once("close", (code) => {
        reject(new Error(`Cannot start the guard process: it ended with exit code ${code}`));
      });
    });
    return guard;
  }

  /** Says that nothing is to be repaired, and waits until the guard is gone. */
  async done(): Promise<void> {
    this.#child.stdin!.end(`${DONE_WORD}\n`);
    await this.#gone;
  }

  /** Lets the guard repair, unless it was told that all is done; waits until it is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin!.end();
    await this.#gone;
  }
}
