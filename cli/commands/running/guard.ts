/**
 * A process that brings a VMM and its device together again if this one is killed.
 *
 * @module
 */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { shellWord } from "../../../src/vfio/mod.ts";
import { PausedVmError } from "../../../src/vmm/mod.ts";
import type { Context } from "../../context.ts";
import { DONE_WORD, READY } from "./repair.ts";

/** What a repair needs in Deno. */
const PERMISSIONS = ["--no-prompt", "--quiet", "--allow-ffi", "--allow-read"];

/** What is guarded. */
export interface Guarded {
  /** The device: `pid:N/FD`. */
  readonly device: string;
  /** The monitor's socket. */
  readonly qmp: string;
  /** Whether the machine is paused, and is to stay so. */
  readonly stayPaused: boolean;
  /** The file of the state that a restore keeps. */
  readonly rollback?: string | undefined;
}

/** The words that start this program again. */
function selfWords(more: readonly string[]): readonly [program: string, ...words: string[]] {
  const main = import.meta.url;
  // In an executable of `deno task compile` there is no file to run.
  if (!main.startsWith("file:") || main.includes("/$bunfs/")) return [process.execPath];
  const script = fileURLToPath(new URL("../../main.ts", main));
  return typeof Deno === "undefined"
    ? [process.execPath, "run", script]
    : [process.execPath, "run", "--cached-only", ...PERMISSIONS, ...more, script];
}

/** The words of a repair, after `vfiokit`. */
function repairArgs({ device, qmp, stayPaused, rollback }: Guarded): string[] {
  return [
    ...["state", device, "--repair", "--qmp", qmp],
    ...(stayPaused ? ["--stay-paused"] : []),
    ...(rollback === undefined ? [] : ["--rollback", rollback]),
  ];
}

/**
 * A guard: `state pid:N/FD --repair --guard` in a session of its own, which a signal to this
 * process's group does not reach. It holds a duplicate of the device, and repairs when its stdin
 * ends without a word.
 */
export class Guard implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #guarded: Guarded;
  readonly #gone: Promise<number | null>;

  private constructor(child: ChildProcess, guarded: Guarded) {
    this.#child = child;
    this.#guarded = guarded;
    this.#gone = new Promise((resolve) => child.once("close", resolve));
  }

  /** Starts a guard, and waits until it holds the device. */
  static async start(guarded: Guarded): Promise<Guard> {
    const { rollback } = guarded;
    const [program, ...words] = selfWords(rollback === undefined ? [] : ["--allow-write"]);
    const args = [...words, ...repairArgs(guarded), "--guard", "--quiet"];
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"], detached: true });
    child.stdin!.on("error", () => {});
    const guard = new Guard(child, guarded);
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

  /**
   * What to throw after a failure: the guard repairs what could not be brought back here, and the
   * VMM's monitor must be free for it.
   */
  async after(error: unknown, context: Context): Promise<unknown> {
    if (!(error instanceof PausedVmError && error.code === "left-paused")) {
      await this.done();
      return error;
    }
    this.#child.stdin!.end();
    if (await this.#gone === 0) {
      context.say("The guard process has brought device and machine back.");
      return error.cause ?? error;
    }
    context.note(
      `To repair it: ${["vfiokit", ...repairArgs(this.#guarded)].map(shellWord).join(" ")}`,
    );
    return error;
  }

  /** Lets the guard repair, unless all is done; waits until it is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin!.end();
    await this.#gone;
  }
}
