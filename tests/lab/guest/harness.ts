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
  /** Whether no kernel can change it: of several kernels it is shown on the first alone. */
  readonly once?: boolean;
  /** Throws where it does not hold; `folder` is the case's own, in memory. */
  run(folder: string): Promise<void>;
}

/** How many cases held, how many did not, and how many cannot be shown here. */
export interface Tally {
  /** The cases that held. */
  readonly passed: number;
  /** The cases that did not. */
  readonly failed: number;
  /** The cases that need what is not there. */
  readonly skipped: number;
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
  /** Whether another kernel was given them before: without those that no kernel changes. */
  readonly again: boolean;
}

/** Runs cases, and counts. */
export async function runCases(cases: readonly Case[], { only, again }: Choice): Promise<Tally> {
  const waiting = cases.filter(({ name }) => name.includes(only));
  const tally = { passed: 0, failed: 0, skipped: 0 };
  const lane = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const once = again && next.once ? "no kernel changes it" : null;
      const reason = once ?? next.lacks?.() ?? null;
      if (reason !== null) {
        console.log(`skip          ${next.name}: ${reason}`);
        tally.skipped++;
      } else if (await runCase(next)) tally.passed++;
      else tally.failed++;
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return tally;
}
