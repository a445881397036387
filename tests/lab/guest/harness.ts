/**
 * The guest's cases: a name, what to do, and how they are run and counted.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";

/** One thing that the lab shows. */
export interface Case {
  /** What holds, as a sentence. */
  readonly name: string;
  /** Why it cannot be shown here; null where it can. */
  lacks?(): string | null;
  /**
   * Which of several kernels show it. "first": the first that can, as no kernel can change it.
   * "each": all of them, as the kernel's own answers are judged. By default all of them, or the
   * first that can if each case is to run once.
   */
  readonly kernels?: "first" | "each";
  /** Whether it takes minutes: it is run only if that is asked for. */
  readonly long?: boolean;
  /** Throws where it does not hold; `folder` is the case's own, in memory. */
  run(folder: string): Promise<void>;
}

/** Cases that others show in part; under emulation they take minutes. */
export function minutes(cases: readonly Case[]): readonly Case[] {
  return cases.map((one) => ({ ...one, long: true }));
}

/** Cases that no kernel can change: they start processes, and what these do was shown before. */
export function firstKernel(cases: readonly Case[]): readonly Case[] {
  return cases.map((one) => ({ ...one, kernels: "first" }));
}

/** Cases that each kernel must pass: they compare its answers with what is expected of every one. */
export function eachKernel(cases: readonly Case[]): readonly Case[] {
  return cases.map((one) => ({ ...one, kernels: "each" }));
}

/** How many cases held, how many did not, and how many cannot be shown here. */
export interface Tally {
  /** The cases that held. */
  readonly passed: number;
  /** The cases that did not. */
  readonly failed: number;
  /** The cases that need what is not there. */
  readonly skipped: number;
  /** The names of those that no other kernel has to show again. */
  readonly shown: readonly string[];
}

function print(mark: string, started: number, name: string): void {
  const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(5);
  console.log(`${mark.padEnd(4)} ${seconds} s  ${name}`);
}

async function runCase({ name, run }: Case): Promise<boolean> {
  const started = performance.now();
  const folder = mkdtempSync("/tmp/case-");
  try {
    await run(folder);
    print("ok", started, name);
    return true;
  } catch (error) {
    print("FAIL", started, name);
    console.log(`${error instanceof Error ? error.stack ?? error.message : error}`);
    return false;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** How many cases run at a time: as many as the guest has processors. */
const LANES = 2;

/** Which cases to run. */
export interface Choice {
  /** Those with this in their name. */
  readonly only: string;
  /** Those that take minutes, too. */
  readonly long: boolean;
  /** Each once: those that a kernel has shown are not shown by the next. */
  readonly once: boolean;
  /** Those that another kernel has shown, and that this one need not show again. */
  readonly shown: readonly string[];
}

/** Runs cases, and counts. */
export async function runCases(
  cases: readonly Case[],
  { only, long, once, shown }: Choice,
): Promise<Tally> {
  const waiting = cases.filter(({ name }) => name.includes(only));
  const tally = { passed: 0, failed: 0, skipped: 0, shown: [] as string[] };
  const lane = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const before = shown.includes(next.name) ? "shown on another kernel" : null;
      const slow = next.long && !long ? "it takes minutes: --long" : null;
      const reason = before ?? slow ?? next.lacks?.() ?? null;
      if (reason !== null) {
        console.log(`skip          ${next.name}: ${reason}`);
        tally.skipped++;
      } else if (await runCase(next)) {
        tally.passed++;
        if (next.kernels === "first" || (once && next.kernels !== "each")) {
          tally.shown.push(next.name);
        }
      } else tally.failed++;
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return tally;
}
