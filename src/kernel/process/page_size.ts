/**
 * The page size of this system.
 *
 * @module
 */

import { cleanlyThen } from "../../base/cleanup.ts";
import { SysError } from "../sys_error.ts";
import { type Kernel, O_RDONLY } from "../kernel.ts";

/** The entry with the page size (AT_PAGESZ of uapi/linux/auxvec.h). */
const AT_PAGESZ = 6n;

/** More than the kernel passes to a program. */
const AUXV_BYTES = 4096;

/** Of x86, and of most other systems. */
const USUAL = 4096;

/**
 * The page size in bytes, from the vector that the kernel passed to this program
 * (/proc/self/auxv); 4096 if that cannot be read.
 *
 * @example
 * ```ts
 * import { libcKernel } from "vfiokit/kernel";
 * import { pageSize } from "./page_size.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(pageSize(libcKernel()) % 4096, 0);
 * ```
 */
export function pageSize(kernel: Kernel): number {
  const bytes = new Uint8Array(AUXV_BYTES);
  let length = 0;
  try {
    const fd = kernel.open("/proc/self/auxv", O_RDONLY);
    length = cleanlyThen(() => kernel.read(fd, bytes), () => kernel.close(fd));
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
  }
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + 16 <= length; at += 16) {
    if (view.getBigUint64(at, true) !== AT_PAGESZ) continue;
    const size = Number(view.getBigUint64(at + 8, true));
    return size >= USUAL && Number.isInteger(Math.log2(size)) ? size : USUAL;
  }
  return USUAL;
}
