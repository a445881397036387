/**
 * DMA memory that could not be allocated, mapped or unmapped, and why.
 *
 * @module
 */

import { printable } from "../../text/mod.ts";
import type { SysError } from "../../kernel/error.ts";

/**
 * Memory for DMA that the kernel refused; its `cause` is the {@linkcode
 * SysError} of the call.
 *
 * @example
 * ```ts
 * import { DmaError } from "./dma_error.ts";
 * import { SysError } from "../../kernel/error.ts";
 * import assert from "node:assert/strict";
 *
 * const cause = new SysError("ioctl VFIO_IOMMU_MAP_DMA", 17, "container /dev/vfio/vfio");
 * const error = new DmaError("Cannot map 0x1000-0x1fff", "it overlaps 0x0-0xffff", "", cause);
 * assert.equal(error.message, "Cannot map 0x1000-0x1fff: it overlaps 0x0-0xffff (EEXIST)");
 * assert.equal(error.code, "EEXIST");
 * ```
 */
export class DmaError extends Error {
  /** Always `DmaError`. */
  override readonly name = "DmaError";
  /** The errno's name. */
  readonly code: string;
  /** What to do next; empty where nothing is to be done. */
  readonly hint: string;

  /** Makes the error: what failed, why, and what to do. */
  constructor(what: string, why: string, hint: string, cause: SysError) {
    super(printable(`${what}: ${why} (${cause.code})`), { cause });
    this.code = cause.code;
    this.hint = hint;
  }
}
