/**
 * What a check works with: the device at the level of raw calls, and how it says what it saw.
 *
 * @module
 */

import type { Kernel } from "../kernel/kernel.ts";
import type { VfioDevice } from "../vfio/device/device.ts";
import type { Safety } from "./safety.ts";
import { type Rule, rule as ruleOf } from "./rules.ts";
import type { SecondThread } from "./thread/second_thread.ts";
import type { V1Device } from "./v1/v1_device.ts";
import type { V2Device } from "./v2/v2_device.ts";
import { Finding, type Outcome } from "./verdict.ts";

/** Waiting is cut into pieces, so that an interruption is noticed. */
const NAP_MS = 50;

/** What the runner gives a check. */
export interface ContextParts {
  /** The kernel, whose calls are recorded. */
  readonly kernel: Kernel;
  /** Answers the open device. */
  readonly device: () => VfioDevice;
  /** The device's v2 calls; null if it speaks v1. */
  readonly v2: V2Device | null;
  /** The second device's v2 calls; null if there is none. */
  readonly secondV2: V2Device | null;
  /** The device's v1 calls; null if it speaks v2. */
  readonly v1: V1Device | null;
  /** The second device's v1 calls; null if there is none. */
  readonly secondV1: V1Device | null;
  /** What checks may do in this run. */
  readonly safety: Safety;
  /** The data of another kind of device; null if there is none. */
  readonly foreign: Uint8Array<ArrayBuffer> | null;
  /** The state that was read right after opening; null if the device was lent. */
  readonly stateAtOpen: number | null;
  /** Another thread that can call the device; null if the check needs none. */
  readonly secondThread: SecondThread | null;
  /** Closes the devices and opens them again. */
  readonly reopen: () => void;
  /** Says what is under way, and throws if the check is to end. */
  readonly progress: (step: string) => void;
  /** Waits for so many milliseconds. */
  readonly wait: (milliseconds: number) => void;
}

/** How many steps of a check are kept. */
const STEPS_MAX = 400;

/** What a check works with. */
export class CheckContext {
  /** The kernel, whose calls are recorded. */
  readonly kernel: Kernel;
  /** What checks may do in this run. */
  readonly safety: Safety;
  /** The data of another kind of device, which the device must not take; null if there is none. */
  readonly foreign: Uint8Array<ArrayBuffer> | null;
  /** The state that was read right after opening; null if the device was lent. */
  readonly stateAtOpen: number | null;
  /** Another thread that can call the device; null if the check needs none. */
  readonly secondThread: SecondThread | null;
  readonly #parts: ContextParts;
  readonly #done: string[] = [];
  readonly #warnings: Finding[] = [];

  /** Makes the context of one run of a check. */
  constructor(parts: ContextParts) {
    this.#parts = parts;
    this.kernel = parts.kernel;
    this.safety = parts.safety;
    this.foreign = parts.foreign;
    this.secondThread = parts.secondThread;
    this.stateAtOpen = parts.stateAtOpen;
  }

  /** The open device. */
  get device(): VfioDevice {
    return this.#parts.device();
  }

  /**
   * The device's v2 calls.
   *
   * @throws {Finding} `skip` if it speaks v1.
   */
  get v2(): V2Device {
    return this.#parts.v2 ?? this.skip("the device does not speak protocol v2");
  }

  /**
   * The device's v1 calls.
   *
   * @throws {Finding} `skip` if it speaks v2.
   */
  get v1(): V1Device {
    return this.#parts.v1 ?? this.skip("the device does not speak protocol v1");
  }

  /** Where a state is restored: the second device, or this one; their v2 calls. */
  get targetV2(): V2Device {
    return this.#parts.secondV2 ?? this.v2;
  }

  /** Where a state is restored: the second device, or this one; their v1 calls. */
  get targetV1(): V1Device {
    return this.#parts.secondV1 ?? this.v1;
  }

  /** Closes the devices, which ends their state, and opens them again. */
  reopen(): void {
    this.step("close the device, and open it again");
    this.#parts.reopen();
  }

  /** Adds a step to what was done; an interruption ends the check here. */
  step(text: string): void {
    this.#parts.progress(text);
    if (this.#done.length < STEPS_MAX) this.#done.push(text);
    else if (this.#done.length === STEPS_MAX) this.#done.push("…");
  }

  /** What was done. */
  get done(): readonly string[] {
    return this.#done;
  }

  /** What was warned of. */
  get warnings(): readonly Finding[] {
    return this.#warnings;
  }

  /** Waits. */
  pause(milliseconds: number): void {
    this.step(`wait ${milliseconds} ms`);
    for (let left = milliseconds; left > 0; left -= NAP_MS) {
      this.#parts.wait(Math.min(left, NAP_MS));
      this.#parts.progress(`wait ${milliseconds} ms`);
    }
  }

  /**
   * Goes on if a condition holds.
   *
   * @param rule The number of the rule that is broken otherwise, or the rule; by default the
   * check's first one.
   * @throws {Finding} `fail` if it does not hold.
   */
  expect(condition: boolean, expected: string, seen: string, rule?: number | Rule): void {
    if (!condition) this.#end("fail", expected, seen, rule);
  }

  /** Remembers a warning if a condition does not hold; the check goes on. */
  prefer(condition: boolean, expected: string, seen: string, rule?: number | Rule): void {
    if (condition) return;
    this.#warnings.push(new Finding("warn", expected, seen, lookUp(rule)));
  }

  /** Ends the check: the device lacks what it needs. */
  skip(why: string): never {
    return this.#end("skip", null, why);
  }

  /** Ends the check: it could not be done. */
  unclear(why: string): never {
    return this.#end("unclear", null, why);
  }

  #end(outcome: Outcome, expected: string | null, seen: string, rule?: number | Rule): never {
    throw new Finding(outcome, expected, seen, lookUp(rule));
  }
}

function lookUp(rule: number | Rule | undefined): Rule | null {
  return typeof rule === "number" ? ruleOf(rule) : rule ?? null;
}
