/**
 * The files of a folder of checkpoints, by their numbers.
 *
 * @module
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { fileError } from "../../checkpoint/file/file_error.ts";

/**
 * The file of a folder's checkpoint, by its number; it need not exist.
 *
 * @example
 * ```ts
 * import { linkFile } from "vfiokit/live";
 * import assert from "node:assert/strict";
 *
 * assert.equal(linkFile("checkpoints", 12), "checkpoints/000012.vfk");
 * ```
 */
export function linkFile(folder: string, number: number): string {
  return path.join(folder, `${String(number).padStart(6, "0")}.vfk`);
}

/**
 * The numbers of a folder's checkpoints, ascending. Other files are left alone.
 *
 * @throws {CheckpointFileError} If it is no folder, or cannot be read.
 */
export function linkNumbers(folder: string): number[] {
  let names: string[];
  try {
    names = fs.readdirSync(folder);
  } catch (error) {
    throw fileError("read", folder, error);
  }
  return names
    .map((name) => Number(/^(\d{6,15})\.vfk$/.exec(name)?.[1] ?? Number.NaN))
    .filter((number, index) => path.basename(linkFile(folder, number)) === names[index])
    .sort((a, b) => a - b);
}

/**
 * Makes the folder, for its owner alone, unless it is there.
 *
 * @throws {CheckpointFileError} If it cannot be made.
 */
export function makeFolder(folder: string): void {
  try {
    if (!fs.existsSync(folder)) fs.mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    throw fileError("create", folder, error);
  }
}
