/**
 * The C yardsticks, compiled.
 */

import { execFile } from "node:child_process";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** There is no C compiler: nothing to compare with. */
export class NoCompilerError extends Error {
  override readonly name = "NoCompilerError";
}

/**
 * Compiles `yardsticks/NAME.c` with gcc -O2 into a folder, and returns where
 * the program is.
 *
 * @throws {NoCompilerError} Where gcc is not installed.
 */
export async function compile(
  name: string,
  folder: string,
  ...flags: readonly string[]
): Promise<string> {
  const source = fileURLToPath(new URL(`./yardsticks/${name}.c`, import.meta.url));
  const program = `${folder}/${basename(name)}`;
  const words = ["-O2", "-Wall", "-Wextra", "-Werror", ...flags, "-o", program, source];
  try {
    await promisify(execFile)("gcc", words);
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ENOENT") throw error;
    throw new NoCompilerError(
      "Cannot run the benchmark: its yardsticks are C programs, and gcc is not installed",
    );
  }
  return program;
}
