/**
 * The lab: boots real kernels under QEMU's software emulation, with a vendor
 * driver of ours, and runs the toolkit in them. See docs/lab.md.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { bootOnce } from "./boot.ts";
import { MissingError } from "./host.ts";
import type { KernelRelease } from "./kernel.ts";
import { type Options, parseOptions, USAGE } from "./options.ts";
import { type Outcome, outcomeTable, outcomeTotal } from "./outcome.ts";

const PROJECT = resolve(fileURLToPath(new URL("../..", import.meta.url)));

function say(text: string): void {
  process.stderr.write(`lab: ${text}\n`);
}

/** One kernel's run; what goes wrong before its boot does not keep the others from theirs. */
async function runKernel(
  release: KernelRelease,
  options: Options,
  shown: readonly string[],
): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "vfiokit-lab-run-"));
  try {
    return await bootOnce(PROJECT, release, { ...options, shown }, folder, say);
  } catch (error) {
    if (error instanceof MissingError || options.kernels.length === 1) throw error;
    say(error instanceof Error ? error.message : String(error));
    return { kernel: release.name, seconds: 0, ok: false, result: null };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options === null) {
    console.log(USAGE);
    return 0;
  }
  const outcomes: Outcome[] = [];
  for (const release of options.kernels) {
    const shown = outcomes.flatMap(({ result }) => result?.shown ?? []);
    outcomes.push(await runKernel(release, options, shown));
  }
  if (outcomes.length > 1 && options.command.length === 0) {
    console.log(`\n${outcomeTable(outcomes)}\n\n${outcomeTotal(outcomes)}`);
  }
  return outcomes.every(({ ok }) => ok) ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = error instanceof MissingError ? 3 : error instanceof TypeError ? 2 : 1;
}
