/**
 * What the caller's thread and the thread that checks say to each other.
 */

import { packError, type TransferredError } from "../../base/error_transfer.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { CHECKS } from "../built_in.ts";
import { CheckError } from "../check_error.ts";
import type { Check } from "../define.ts";
import type { Safety } from "../safety.ts";
import type { Rule } from "../rules.ts";
import { type CheckAnswer, type CheckedDevice, Runner, type RunnerOptions } from "../runner.ts";
import type { SharedConnection } from "../../vfio_user/mod.ts";
import { SecondThread } from "./second_thread.ts";
import { Watch } from "./watch.ts";

/** A check, without what it does. Plain data. */
export interface CheckInfo {
  /** Its id. */
  readonly id: string;
  /** Its group. */
  readonly group: string;
  /** What it may do to the device. */
  readonly safety: Safety;
  /** The rules it judges by. */
  readonly rules: readonly [Rule, ...Rule[]];
  /** Whether it wants the device to be busy. */
  readonly load: boolean;
}

/** Opens the devices. */
export interface OpenRequest {
  readonly names: readonly string[];
  readonly options: RunnerOptions;
  /** Modules whose default export is a check, or several. */
  readonly modules: readonly string[];
  readonly memory: SharedArrayBuffer;
}

/** What was opened. */
export interface OpenedDevice {
  /** The device. */
  readonly device: CheckedDevice;
  /** Every check that there is. */
  readonly checks: readonly CheckInfo[];
}

/** A request to the thread. */
export type CheckRequest =
  | { readonly open: OpenRequest }
  | { readonly run: string }
  | { readonly close: true };

/** The thread's answer. */
export type CheckReply =
  | { readonly value: OpenedDevice | CheckAnswer | null }
  | { readonly error: TransferredError };

/** A check without what it does. */
export function infoOf({ id, group, safety, rules, needs }: Check): CheckInfo {
  return { id, group, safety, rules, load: needs.load ?? false };
}

/** Serves the requests of one run, one after the other. */
export class CheckService {
  readonly #kernel: Kernel | undefined;
  readonly #wait: ((milliseconds: number) => void) | undefined;
  #runner: Runner | null = null;
  #secondThread: SecondThread | null = null;
  #checks: readonly Check[] = CHECKS;

  /** Opens devices on `kernel`, and waits by `wait`; by default their names and the clock decide. */
  constructor(kernel?: Kernel, wait?: (milliseconds: number) => void) {
    this.#kernel = kernel;
    this.#wait = wait;
  }

  /** Answers a request. */
  async answer(request: CheckRequest): Promise<OpenedDevice | CheckAnswer | null> {
    if ("open" in request) return await this.#open(request.open);
    if ("close" in request) {
      this.#runner?.close();
      this.#runner = null;
      this.#secondThread?.close();
      return null;
    }
    const check = this.#checks.find(({ id }) => id === request.run);
    if (check === undefined || this.#runner === null) {
      throw new TypeError(`Cannot run the check ${request.run}`);
    }
    const { threads, signals } = check.needs;
    const second = threads === true || signals === true && this.#runner.interruptible;
    const threaded = second && this.#runner.whyNot(check) === null;
    if (threaded) await this.#startSecond(this.#runner.connection);
    return this.#runner.run(check, threaded ? this.#secondThread : null);
  }

  async #startSecond(connection: SharedConnection | null): Promise<void> {
    if (connection !== null) {
      // A check may have closed the device and opened it again: then it has another connection.
      this.#secondThread?.close();
      this.#secondThread = null;
    }
    this.#secondThread ??= await SecondThread.start(connection);
  }

  async #open({ names, options, modules, memory }: OpenRequest): Promise<OpenedDevice> {
    const own = await Promise.all(modules.map(load));
    this.#checks = [...CHECKS, ...own.flat()];
    this.#runner = new Runner(names, options, new Watch(memory), {
      kernel: this.#kernel,
      wait: this.#wait,
    });
    return { device: this.#runner.device, checks: this.#checks.map(infoOf) };
  }
}

/**
 * The checks of a vendor's module.
 *
 * @throws {CheckError} If it has none.
 */
export async function load(module: string): Promise<Check[]> {
  const { default: found } = await import(module) as { default?: unknown };
  const checks = Array.isArray(found) ? found : [found];
  for (const check of checks) {
    if (typeof (check as Partial<Check> | undefined)?.run === "function") continue;
    throw new CheckError(
      "bad-checks",
      `Cannot use ${module}: its default export is not a check, nor a list of checks`,
    );
  }
  return checks as Check[];
}

/** An answer for the other thread. */
export async function replyTo(service: CheckService, request: CheckRequest): Promise<CheckReply> {
  try {
    return { value: await service.answer(request) };
  } catch (error) {
    return { error: packError(error) };
  }
}
