/**
 * Files that a program has packed whole.
 *
 * @module
 */

const PACKERS = [
  { name: "zstd", magic: [0x28, 0xb5, 0x2f, 0xfd] },
  { name: "gzip", magic: [0x1f, 0x8b] },
  { name: "xz", magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a] },
] as const;

/** A program that packed a file. */
export interface Packer {
  /** Its name: `gzip`. */
  readonly name: string;
  /** How to see what is in the file. */
  readonly hint: string;
}

/**
 * What has packed a file that begins with these bytes; null if nothing that is known.
 *
 * @example
 * ```ts
 * import { packerOf } from "./packed_file.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(packerOf(new Uint8Array([0x1f, 0x8b, 8, 0]))?.name, "gzip");
 * assert.equal(packerOf(new Uint8Array([0x1f])), null);
 * ```
 */
export function packerOf(start: Uint8Array): Packer | null {
  const packer = PACKERS.find(({ magic }) => magic.every((byte, index) => byte === start[index]));
  if (packer === undefined) return null;
  const { name } = packer;
  return { name, hint: `Unpack it first: ${name} -dc FILE prints what is in it` };
}
