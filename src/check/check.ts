/**
 * Judging a migration driver, as an asynchronous iteration of verdicts.
 *
 * @module
 */

import { cleanedUpAsync, cleanlyThenAsync } from "../base/cleanup.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { BenchOptions } from "./devices/devices_under_check.ts";
import { type CheckClient, InlineCheckClient, WorkerCheckClient } from "./thread/check_client.ts";
import type { CheckInfo, OpenedDevice } from "./thread/requests.ts";
import type { Safety } from "./safety.ts";
import type { CheckAnswer, CheckedDevice } from "./runner.ts";
import { selectChecks, type Selection } from "./select.ts";
import type { SharedTrace } from "../trace/mod.ts";
import type { Verdict } from "./verdict.ts";
import { Watch } from "./thread/watch.ts";

/** How a device is checked. */
export interface CheckOptions extends Selection, BenchOptions {
  /** A second device of the same kind, which states are restored into. */
  readonly second?: string | undefined;
  /** What checks may do to the devices; `default` by default. */
  readonly safety?: Safety | undefined;
  /**
   * How long one kernel call may take, in milliseconds, before the check counts as hung (default:
   * 10 000); a check may take {@linkcode CHECK_CALLS_MAX} times that.
   */
  readonly timeoutMs?: number | undefined;
  /** The data of another kind of device, which the device must not take (`destructive` only). */
  readonly foreign?: Uint8Array<ArrayBuffer> | undefined;
  /** Traces every call to this. */
  readonly trace?: SharedTrace | undefined;
  /** Ends the run: the device is brought back to RUNNING. */
  readonly signal?: AbortSignal | undefined;
  /** Keeps the device busy during the checks that want it, until what it answers is disposed. */
  readonly load?: ((device: CheckedDevice) => Promise<AsyncDisposable>) | undefined;
  /** URLs of modules whose default export is a check (`defineCheck`), or a list of them. */
  readonly modules?: readonly string[] | undefined;
  /** Runs on this thread, over this kernel: a simulated one, since a call that blocks blocks all. */
  readonly kernel?: Kernel | undefined;
  /**
   * With `kernel`: how a check waits for so many milliseconds. A simulated kernel whose clock the
   * caller moves needs no real time. By default the thread sleeps.
   */
  readonly wait?: ((milliseconds: number) => void) | undefined;
}

/** What will be run. */
export interface CheckPlan {
  /** The device. */
  readonly device: CheckedDevice;
  /** What checks may do to it. */
  readonly safety: Safety;
  /** The checks, in their order. */
  readonly checks: readonly CheckInfo[];
}

const TIMEOUT_MS = 10_000;
/** How many times the timeout of a call a whole check may take. */
export const CHECK_CALLS_MAX = 12;
/** How often a thread is looked at. */
const LOOK_MS = 50;

/** A run of checks on a device: an iteration of verdicts, one for each check. */
export class CheckRun implements AsyncIterable<Verdict> {
  readonly #name: string;
  readonly #options: CheckOptions;
  readonly #watch: Watch = new Watch();
  #client: CheckClient | null = null;
  #plan: Promise<CheckPlan> | null = null;
  #lost: string | null = null;

  /** Prepares a run; nothing is opened yet. */
  constructor(name: string, options: CheckOptions) {
    this.#name = name;
    this.#options = options;
  }

  /**
   * The state that the device was left in, if it is not RUNNING: it needs a reset, and the run
   * ended. `unknown` after a check that hung.
   */
  get lost(): string | null {
    return this.#lost;
  }

  /**
   * Opens the device, and says what will be run. Iterating does the same.
   *
   * @throws {UnsupportedError} If it has no migration, or cannot be opened.
   * @throws {BusyError} If another process has it open.
   * @throws {CheckError} If it is not in RUNNING, if the second device is of another kind, or if a
   * check that is named does not exist.
   */
  plan(): Promise<CheckPlan> {
    return this.#plan ??= this.#open();
  }

  async #open(): Promise<CheckPlan> {
    const { second, safety = "default", kernel, wait, modules = [], load, foreign } = this.#options;
    const { via, vfToken, groupFd, containerFd, trace } = this.#options;
    this.#options.signal?.throwIfAborted();
    this.#client = kernel === undefined
      ? new WorkerCheckClient()
      : new InlineCheckClient(kernel, wait);
    try {
      const { device, checks } = await this.#client.request({
        open: {
          names: second === undefined ? [this.#name] : [this.#name, second],
          options: {
            ...{ safety, load: load !== undefined, foreign: foreign ?? null },
            ...{ via, vfToken, groupFd, containerFd, trace },
          },
          modules,
          memory: this.#watch.memory,
        },
      }) as OpenedDevice;
      try {
        return { device, safety, checks: selectChecks(checks, this.#options) };
      } catch (error) {
        await this.#client.request({ close: true });
        throw error;
      }
    } catch (error) {
      this.#client.end();
      throw error;
    }
  }

  /** Runs the checks, one after the other; closes the devices at the end. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Verdict, void, undefined> {
    const plan = await this.plan();
    let { device } = plan;
    const client = this.#client!;
    const { signal } = this.#options;
    const interrupt = (): void => void (this.#watch.interrupted = true);
    signal?.addEventListener("abort", interrupt);
    let hung = false;
    let failed = false;
    const end = async (): Promise<void> => {
      signal?.removeEventListener("abort", interrupt);
      await cleanlyThenAsync(
        async () => void (hung || await client.request({ close: true })),
        () => Promise.resolve(client.end()),
      );
    };
    try {
      for (const check of plan.checks) {
        signal?.throwIfAborted();
        const answer = await this.#run(client, check, device);
        signal?.throwIfAborted();
        hung = answer.hung;
        this.#lost = answer.lost;
        device = { ...device, fds: answer.fds };
        yield answer.verdict;
        if (answer.lost !== null) return;
      }
    } catch (error) {
      failed = true;
      throw await cleanedUpAsync(error, end);
    } finally {
      // A caller may stop early.
      if (!failed) await end();
    }
  }

  async #run(
    client: CheckClient,
    check: CheckInfo,
    device: CheckedDevice,
  ): Promise<CheckAnswer & { readonly hung: boolean }> {
    const { load } = this.#options;
    await using _load = check.load && load !== undefined ? await load(device) : null;
    const limits = new Limits(this.#watch, this.#options.timeoutMs ?? TIMEOUT_MS);
    const work = client.request({ run: check.id }) as Promise<CheckAnswer>;
    for (;;) {
      const answer = await orNullAfter(work, LOOK_MS);
      if (answer !== null) {
        if (!limits.passed) return { ...answer, hung: false };
        this.#watch.interrupted = this.#options.signal?.aborted ?? false;
        return { ...answer, verdict: late(answer.verdict, limits), hung: false };
      }
      const where = limits.look();
      if (where !== null) {
        const verdict = hungVerdict(check, where, limits);
        return { verdict, lost: "an unknown state", fds: device.fds, hung: true };
      }
    }
  }
}

/** How long calls and checks may take. */
class Limits {
  readonly #watch: Watch;
  readonly #callMs: number;
  readonly #begun = performance.now();
  #turn: number;
  #since: number;
  /** Whether the whole check took too long, and was told to end. */
  passed = false;

  constructor(watch: Watch, callMs: number) {
    this.#watch = watch;
    this.#callMs = callMs;
    this.#turn = watch.turn;
    this.#since = this.#begun;
  }

  /** How long the check has run, in milliseconds. */
  get milliseconds(): number {
    return performance.now() - this.#begun;
  }

  /** How long a call may take, in milliseconds. */
  get callMs(): number {
    return this.#callMs;
  }

  /** The call that takes too long; null if none does. */
  look(): string | null {
    const { turn, where } = this.#watch;
    const now = performance.now();
    if (turn !== this.#turn) {
      this.#turn = turn;
      this.#since = now;
    }
    if (where !== "" && now - this.#since > this.#callMs) return where;
    if (now - this.#begun > CHECK_CALLS_MAX * this.#callMs) {
      this.passed = true;
      this.#watch.interrupted = true;
    }
    return null;
  }
}

async function orNullAfter<T>(work: Promise<T>, milliseconds: number): Promise<T | null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(() => resolve(null), milliseconds);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

function late(verdict: Verdict, limits: Limits): Verdict {
  return {
    ...verdict,
    outcome: "fail",
    expected: `the check ends within ${CHECK_CALLS_MAX * limits.callMs / 1000} s`,
    seen: `it was still going on after ${Math.round(limits.milliseconds / 1000)} s, and was ended`,
  };
}

function hungVerdict(check: CheckInfo, where: string, limits: Limits): Verdict {
  return {
    id: check.id,
    group: check.group,
    safety: check.safety,
    rule: check.rules[0],
    outcome: "fail",
    done: [],
    expected: `each call returns within ${limits.callMs / 1000} s`,
    seen: `it hangs in the kernel: ${where}`,
    calls: [],
    callsLeftOut: 0,
    milliseconds: limits.milliseconds,
  };
}

/**
 * Judges the migration driver of a device: each check of the chosen ones in its turn. Between two
 * checks the device is in RUNNING. If it does not get there, the run ends.
 *
 * @param device What to open, as `openDevice` takes it.
 * @param options Which checks, what they may do, and how long they may take.
 *
 * @example
 * ```ts
 * import { check } from "vfiokit/check";
 * import assert from "node:assert/strict";
 *
 * for await (const { id, outcome } of check("sim:mlx5?size=64KiB", { only: ["features"] })) {
 *   assert.notEqual(outcome, "fail", id);
 * }
 * ```
 */
export function check(device: string, options: CheckOptions = {}): CheckRun {
  return new CheckRun(device, options);
}
