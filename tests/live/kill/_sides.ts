/**
 * Processes that are one side of a migration each, started before they are needed.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import type { Side } from "../../../src/live/commit/journal.ts";

/** What a process is to do. */
export interface SideTask {
  readonly side: Side;
  readonly socket: string;
  readonly journal: string;
  /** The memory, as decimal numbers. */
  readonly range: { readonly iova: string; readonly size: string };
  /** The inherited fds of the device and its memory. */
  readonly fds: Readonly<Record<Side, { readonly channel: number; readonly memory: number }>>;
  /** The step at which it kills itself; null for none. */
  readonly killAt: number | null;
  /** Whether there is a tracker. */
  readonly tracker: boolean;
  readonly timeoutMs: number;
}

/** What a process says. */
export type Report =
  | { readonly type: "waiting" }
  | { readonly type: "id"; readonly id: string }
  | { readonly type: "in-doubt"; readonly id: string }
  | { readonly type: "steps"; readonly count: number }
  | { readonly type: "failed"; readonly message: string };

/** Where a process is. */
export type SideState = "starting" | "waiting" | "in-doubt" | "ended";

/** A process. */
export class SideProcess {
  state: SideState = "starting";
  /** The migration's id, once it is known. */
  id: string | null = null;
  /** How many steps it took; null if it did not come to its end. */
  steps: number | null = null;
  failure: string | null = null;
  /** Whether it came to the step at which it kills itself. */
  killedItself = false;
  readonly #child: ChildProcess;
  #killed = false;
  #changed = Promise.withResolvers<void>();

  /** Starts it with these fds, from 3 on. */
  constructor(fds: readonly number[]) {
    const script = new URL("./_side.ts", import.meta.url).pathname;
    const deno = ["run", "--no-check", "-A", script];
    const bun = typeof process.versions["bun"] === "string";
    this.#child = spawn(process.execPath, bun ? [script] : deno, {
      stdio: ["pipe", "pipe", "inherit", ...fds],
    });
    let text = "";
    this.#child.stdout!.on("data", (chunk: Uint8Array) => {
      text += new TextDecoder().decode(chunk);
      const lines = text.split("\n");
      text = lines.pop()!;
      for (const line of lines) this.#heard(JSON.parse(line));
    });
    this.#child.once("close", (_code, signal) => {
      this.killedItself = signal === "SIGKILL" && !this.#killed;
      this.#be("ended");
    });
  }

  #be(state: SideState): void {
    this.state = state;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  #heard(report: Report): void {
    switch (report.type) {
      case "waiting":
        return this.#be("waiting");
      case "in-doubt":
        this.id = report.id;
        return this.#be("in-doubt");
      case "id":
        this.id = report.id;
        return;
      case "steps":
        this.steps = report.count;
        return;
      case "failed":
        this.failure = report.message;
        return;
    }
  }

  /** Resolves once it is somewhere else. */
  get changed(): Promise<void> {
    return this.#changed.promise;
  }

  /** Tells it what to do, and waits until it does it, or has ended. */
  async begin(task: SideTask): Promise<void> {
    this.#child.stdin!.write(JSON.stringify(task) + "\n");
    while (this.state === "starting") await this.changed;
  }

  /** A decision was entered: it is not in doubt until it says so again. */
  decided(): void {
    if (this.state === "in-doubt") this.state = "waiting";
  }

  async kill(): Promise<void> {
    if (this.state === "ended") return;
    this.#killed = true;
    const closed = once(this.#child, "close");
    this.#child.kill("SIGKILL");
    await closed;
  }
}
