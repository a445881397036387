/**
 * Deno and Bun for the guest: the very binaries of their npm packages, with the
 * libraries they name, and what Deno has to know of the project's modules.
 *
 * @module
 */

import { chmodSync, copyFileSync } from "node:fs";
import { join } from "node:path";
import { cached, runText } from "./host.ts";

const DENO = "2.9.6";
const BUN = "1.4.5";

/** The runtimes in the cache. */
export interface Runtimes {
  /** The folder that has them all. */
  readonly folder: string;
  /** The path of Deno's binary. */
  readonly deno: string;
  /** The path of Bun's binary. */
  readonly bun: string;
}

function take(folder: string, name: string, version: string, print: readonly string[]): string {
  const own = cached(join(folder, `${name}-${version}`), (to) => {
    const path = runText("npx", ["--yes", `${name}@${version}`, ...print]);
    copyFileSync(path, join(to, name));
    chmodSync(join(to, name), 0o755);
  });
  return join(own, name);
}

/** Deno and Bun, taken from their npm packages where the cache lacks them. */
export function runtimes(cache: string): Runtimes {
  const folder = join(cache, "runtimes");
  return {
    folder,
    deno: take(folder, "deno", DENO, ["eval", "console.log(Deno.execPath())"]),
    bun: take(folder, "bun", BUN, ["-p", "process.execPath"]),
  };
}

/**
 * Fills a DENO_DIR for the guest, so that it finds the project's modules
 * without a network and need not transpile them; returns the folder.
 */
export function guestModules(programs: Runtimes, project: string): string {
  const folder = join(programs.folder, "deno-dir");
  runText(programs.deno, ["cache", ...GUEST_ENTRIES.map((path) => join(project, path))], {
    cwd: project,
    env: { DENO_DIR: folder },
  });
  return folder;
}

/** What the guest starts under Deno. */
const GUEST_ENTRIES: readonly string[] = [
  "tests/lab/guest/main.ts",
  "cli/main.ts",
  "tests/dirty/type1_answers.ts",
  "cli/phases/precopy.ts",
  "cli/phases/stop_and_copy.ts",
  "cli/phases/resume.ts",
];

/** The libraries that programs are linked to, and the loader, as absolute paths. */
export function libraries(programs: readonly string[]): string[] {
  const found = new Set<string>();
  for (const program of programs) {
    for (const line of runText("ldd", [program]).split("\n")) {
      const path = /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1];
      if (path !== undefined) found.add(path);
    }
  }
  return [...found].sort();
}
