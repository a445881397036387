/**
 * Whether a folder is a snapshot of cloud-hypervisor's.
 *
 * @module
 */

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Where the state is; up to version 21 it was in the second. */
const STATE_FILES = ["state.json", "vm.json"];

/** The file of a snapshot that has its state; undefined if the folder is none. */
export function stateFile(folder: string): string | undefined {
  return STATE_FILES.map((name) => join(folder, name)).find((file) => existsSync(file));
}

/** Whether a folder looks like a snapshot, and not like one of checkpoints. */
export function isSnapshot(folder: string): boolean {
  return stateFile(folder) !== undefined &&
    !readdirSync(folder).some((name) => /^\d+\.vfk$/.test(name));
}
