/**
 * Bytes of a monitor's file that were looked at before, read once more.
 */

import * as fs from "node:fs";
import { VmmFileError } from "./vmm_file_error.ts";

/** Whose bytes they are, and where in the file. */
export interface FilePlace {
  /** The device. */
  readonly name: string;
  /** Where they begin. */
  readonly offset: number;
}

/**
 * Reads as many bytes as there is room for.
 *
 * @throws {VmmFileError} `truncated` if the file has become shorter.
 */
export function readWhole(fd: number, into: Uint8Array, { name, offset }: FilePlace): void {
  for (let at = 0; at < into.length;) {
    const count = fs.readSync(fd, into, at, into.length - at, offset + at);
    if (count === 0) {
      throw new VmmFileError("truncated", offset + at, `it has become shorter in ${name}`);
    }
    at += count;
  }
}
