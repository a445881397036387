/**
 * The guest's cases: a name, what to do, and how they are run and counted.
 *
 * @module
 */

/** One thing that the lab shows. */
export interface Case {
  /** What holds, as a sentence. */
  readonly name: string;
  /** Throws where it does not hold. */
  run(): Promise<void>;
}

/** How many cases held, and how many did not. */
export interface Tally {
  /** The cases that held. */
  readonly passed: number;
  /** The cases that did not. */
  readonly failed: number;
}

function print(mark: string, started: number, name: string): void {
  const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(5);
  console.log(`${mark.padEnd(4)} ${seconds} s  ${name}`);
}

/** Runs the cases whose name contains a word, one after the other. */
export async function runCases(cases: readonly Case[], only: string): Promise<Tally> {
  let passed = 0;
  let failed = 0;
  for (const { name, run } of cases.filter(({ name }) => name.includes(only))) {
    const started = performance.now();
    try {
      await run();
      passed++;
      print("ok", started, name);
    } catch (error) {
      failed++;
      print("FAIL", started, name);
      console.log(`${error instanceof Error ? error.stack ?? error.message : error}`);
    }
  }
  return { passed, failed };
}
