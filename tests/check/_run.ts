/** Runs checks on simulated devices, on this thread. */

import { check, type CheckOptions, type Verdict } from "../../src/check/mod.ts";
import { SimKernel } from "../../src/sim/mod.ts";

/** The verdicts of a run on one simulated device, or two. */
export async function verdictsOf(
  specs: readonly string[],
  options: Omit<CheckOptions, "kernel" | "second"> = {},
): Promise<{ verdicts: Verdict[]; lost: string | null; kernel: SimKernel }> {
  // The clock stands still but for the checks' pauses, so that no time is lost by them.
  let now = 0;
  const wait = (milliseconds: number): void => void (now += milliseconds);
  const kernel = SimKernel.withClock(() => now, ...specs);
  const run = check(specs[0]!, { ...options, second: specs[1], kernel, wait });
  const verdicts: Verdict[] = [];
  for await (const verdict of run) verdicts.push(verdict);
  return { verdicts, lost: run.lost, kernel };
}

/** What a test that fails shows of a verdict. */
export function shown({ id, outcome, expected, seen, done }: Verdict): string {
  return `${outcome} ${id}: expected ${expected}, seen ${seen}; done: ${done.join("; ")}`;
}

/** The verdict with an id. */
export function verdict(verdicts: readonly Verdict[], id: string): Verdict {
  const found = verdicts.find((one) => one.id === id);
  if (found === undefined) throw new Error(`no verdict of ${id}`);
  return found;
}
