/**
 * Other programs, run to their end.
 */

import { spawn } from "node:child_process";

/** What a program printed. */
export interface Printed {
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program.
 *
 * @throws {Error} If it does not exit with 0, with what it said on stderr.
 */
export function run(words: readonly string[]): Promise<Printed> {
  const [program = "", ...args] = words;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const printed = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => printed[name] += text);
  }
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) return resolve(printed);
      reject(new Error(`Cannot measure: ${words.join(" ")} exited ${code}: ${printed.stderr}`));
    });
  });
}

/** Programs that run at the same time, each with its output piped into the next. */
export function pipeline(...programs: readonly (readonly string[])[]): readonly string[] {
  const quoted = programs.map((words) =>
    words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ")
  );
  return ["bash", "-o", "pipefail", "-c", quoted.join(" | ")];
}

/** How long a program took for what it is measured by, in seconds. */
export interface Timed {
  /** From the first change of state to the last byte. */
  readonly seconds: number;
  /** What reading the file back took. */
  readonly readBack: number;
  /** What all of it took, the reading back and the file's commit included. */
  readonly all: number;
}

/**
 * Runs programs at the same time. Each prints, as its last line or lines on stderr, when it began
 * and ended, by a clock that those that run together have in common, and may add what reading back
 * and all of it took; all are in seconds. They count from the first that began to the last that
 * ended.
 *
 * @throws {Error} If one of them fails, or prints something else.
 */
export async function timed(...programs: readonly (readonly string[])[]): Promise<Timed> {
  const printed = await Promise.all(programs.map(run));
  const lines = printed.flatMap(({ stderr }) => stderr.trim().split("\n"))
    .map((line) => line.trim().split(" ").map(Number));
  if (
    lines.some((numbers) => numbers.length < 2 || numbers.some((each) => !Number.isFinite(each)))
  ) {
    const all = printed.map(({ stderr }) => stderr).join("");
    throw new Error(`Cannot measure: ${programs[0]!.join(" ")} printed ${JSON.stringify(all)}`);
  }
  const seconds = Math.max(...lines.map(([, ended]) => ended!)) -
    Math.min(...lines.map(([begun]) => begun!));
  const [, , readBack = 0, all = seconds] = lines[0]!;
  return { seconds, readBack, all };
}

/** Runs a program and returns how many seconds that took, its start included. */
export async function wallSeconds(words: readonly string[]): Promise<number> {
  const begun = performance.now();
  await run(words);
  return (performance.now() - begun) / 1000;
}
