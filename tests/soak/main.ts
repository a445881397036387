/**
 * What takes too long for every change: see docs/soak.md.
 *
 *     deno task soak
 *     deno task soak -- mutants limits
 *     deno task soak -- --list
 *
 * @module
 */

import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { chosenParts, type Part, PARTS, type Program } from "./parts.ts";

const PROJECT = fileURLToPath(new URL("../..", import.meta.url));

/** What came of a part. */
interface Outcome {
  readonly name: string;
  readonly passed: boolean;
  readonly seconds: number;
  /** The last line of each of its programs. */
  readonly results: readonly string[];
}

function wordsOf({ runtime, file, args }: Program): readonly [string, ...string[]] {
  return runtime === "deno"
    ? [process.execPath, "run", "-A", "--no-prompt", file, ...args]
    : ["npx", "--yes", "bun@1.4.5", "run", file, ...args];
}

/** Runs a program, shows what it prints, and answers its exit code and its last line. */
async function runProgram(program: Program): Promise<{ code: number; last: string }> {
  const [command, ...args] = wordsOf(program);
  console.log(`soak: ${program.runtime} ${[program.file, ...program.args].join(" ")}`);
  const child = spawn(command, args, { cwd: PROJECT, stdio: ["ignore", "pipe", "inherit"] });
  let end = "";
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (text: string) => {
    process.stdout.write(text);
    end = (end + text).slice(-4096);
  });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.once("error", reject);
  child.once("close", (code, signal) => resolve(signal === null ? code ?? 1 : 1));
  const code = await promise;
  return { code, last: end.trimEnd().split("\n").at(-1) ?? "" };
}

async function runPart({ name, programs }: Part): Promise<Outcome> {
  const begun = performance.now();
  const results: string[] = [];
  let passed = true;
  for (const program of programs) {
    const { code, last } = await runProgram(program);
    results.push(code === 0 ? last : `exit code ${code}: ${last}`);
    passed &&= code === 0;
  }
  return { name, passed, seconds: (performance.now() - begun) / 1000, results };
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--list")) {
    for (const { name, text } of PARTS) console.log(`${name.padEnd(12)} ${text}`);
    return 0;
  }
  const outcomes: Outcome[] = [];
  for (const part of chosenParts(args)) outcomes.push(await runPart(part));
  console.log("");
  for (const { name, passed, seconds, results } of outcomes) {
    const mark = passed ? "passed" : "FAILED";
    console.log(`${mark}  ${name.padEnd(12)} ${Math.round(seconds)} s  ${results.join("; ")}`);
  }
  const failed = outcomes.filter(({ passed }) => !passed).length;
  console.log(`${outcomes.length - failed} parts passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

try {
  const args = process.argv.slice(2);
  process.exitCode = await main(args[0] === "--" ? args.slice(1) : args);
} catch (error) {
  if (!(error instanceof TypeError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
