/**
 * What runs our side.
 */

import process from "node:process";
import { fileURLToPath } from "node:url";
import { run } from "./_command.ts";
import type { RuntimeName } from "./options.ts";

/** A runtime. */
export interface Runtime {
  /** Its name, as it is written in the table. */
  readonly name: string;
  /** How to run a TypeScript file in it. */
  readonly words: readonly string[];
}

/** The Deno that runs the benchmark. */
export const DENO: Runtime = {
  name: "Deno",
  words: [process.execPath, "run", "-A", "--no-prompt"],
};

/** The command line. */
export const CLI: string = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));

/** Bun, which npx gets; null where it cannot. */
async function bun(): Promise<Runtime | null> {
  try {
    const words = ["npx", "--yes", "--package=bun@1.4.5", "--", "sh", "-c", "command -v bun"];
    return { name: "Bun", words: [(await run(words)).stdout.trim()] };
  } catch {
    console.error("Bun is left out: npx cannot get it");
    return null;
  }
}

/** The runtimes of these names. */
export async function runtimes(names: readonly RuntimeName[]): Promise<Runtime[]> {
  const found = names.map((name) => name === "deno" ? DENO : bun());
  return (await Promise.all(found)).filter((runtime) => runtime !== null);
}

/** Words that run a file of the benchmark's in a runtime. */
export function script({ words }: Runtime, name: string, ...args: readonly string[]): string[] {
  return [...words, fileURLToPath(new URL(name, import.meta.url)), ...args];
}
