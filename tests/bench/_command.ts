/**
 * Other programs, run to their end.
 */

import { spawn } from "node:child_process";
import process from "node:process";

/**
 * Runs a program and returns what it prints.
 *
 * @throws {Error} If it does not exit with 0, with what it said on stderr.
 */
export function output(words: readonly string[]): Promise<string> {
  const [program = "", ...args] = words;
  const child = spawn(program, args, { stdio: ["inherit", "pipe", "pipe"] });
  const printed: Record<"stdout" | "stderr", string> = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => printed[name] += text);
  }
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(printed.stdout);
      else {reject(
          new Error(`Cannot measure: ${words.join(" ")} exited ${code}: ${printed.stderr}`),
        );}
    });
  });
}

/** A program with a file on its stdin, through a pipe. */
export function piped(file: string, words: readonly string[]): readonly string[] {
  return ["sh", "-c", 'file=$1; shift; cat "$file" | "$@"', "sh", file, ...words];
}

/** Runs a program that prints one number. */
export async function printedNumber(words: readonly string[]): Promise<number> {
  const text = await output(words);
  const number = Number(text);
  if (text.trim() === "" || !Number.isFinite(number)) {
    throw new Error(`Cannot measure: ${words.join(" ")} printed ${JSON.stringify(text)}`);
  }
  return number;
}

/** Runs a program and returns how many seconds that took, its start included. */
export async function wallSeconds(words: readonly string[]): Promise<number> {
  const begun = performance.now();
  await output(words);
  return (performance.now() - begun) / 1000;
}

/** Words that run a TypeScript file in the Deno that runs this. */
export function deno(file: URL, ...args: readonly string[]): readonly string[] {
  return [process.execPath, "run", "-A", "--no-prompt", file.pathname, ...args];
}
