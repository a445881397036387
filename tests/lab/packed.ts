/**
 * Kernels and modules come packed, with one program or another.
 *
 * @module
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { MissingError, run, which } from "./host.ts";

const XZ: readonly number[] = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const ZSTD: readonly number[] = [0x28, 0xb5, 0x2f, 0xfd];

function startsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, i) => bytes[i] === byte);
}

/** The bytes before they were packed; those that never were are returned as they are. */
export function unpack(bytes: Uint8Array): Uint8Array {
  if (startsWith(bytes, ZSTD)) return zstdDecompressSync(bytes);
  if (!startsWith(bytes, XZ)) return bytes;
  if (which("xz") === null) {
    throw new MissingError('Cannot unpack the kernel: no "xz" on this machine (package xz-utils)');
  }
  const folder = mkdtempSync(join(tmpdir(), "vfiokit-lab-"));
  try {
    const file = join(folder, "packed.xz");
    writeFileSync(file, bytes);
    return run("xz", ["--decompress", "--stdout", "--single-stream", file]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
