/**
 * The error for DMA memory that cannot be allocated, mapped or unmapped.
 *
 * @module
 */

import { type Hint, VfiokitError } from "../../base/vfiokit_error.ts";
import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";
import type { SysError } from "../../kernel/sys_error.ts";

/**
 * The kernel refused to allocate, map or unmap memory for DMA. The `cause` is the
 * {@linkcode SysError} of the call.
 *
 * @example
 * ```ts
 * import { DmaError } from "vfiokit/vfio";
 * import { SysError } from "vfiokit/kernel";
 * import assert from "node:assert/strict";
 *
 * const cause = new SysError("ioctl VFIO_IOMMU_MAP_DMA", 17, "container /dev/vfio/vfio");
 * const error = new DmaError("Cannot map 0x1000-0x1fff", "it overlaps 0x0-0xffff", "", cause);
 * assert.equal(error.message, "Cannot map 0x1000-0x1fff: it overlaps 0x0-0xffff (EEXIST)");
 * assert.equal(error.code, "EEXIST");
 * ```
 */
export class DmaError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `DmaError`. */
  override readonly name = "DmaError";
  /** The errno's name. */
  readonly code: SysError["code"];

  /** Makes the error: what failed, why, and what to do. */
  constructor(what: string, why: string, hint: Hint | string, cause: SysError) {
    super(printable(`${what}: ${why} (${cause.code})`), { cause }, hint);
    this.code = cause.code;
  }
}
