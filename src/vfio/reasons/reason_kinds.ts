/**
 * The two kinds of reasons.
 */

import { printable } from "../../base/printable.ts";
import type { Remedy } from "../../base/vfiokit_error.ts";
import type { Reason, ReasonCode } from "./unsupported_error.ts";

/** What stands in the way. */
export function blocks(
  code: ReasonCode,
  message: string,
  hint: string,
  remedy?: Remedy,
): Reason {
  const helps = remedy === undefined ? {} : { remedy };
  return { code, message: printable(message), hint: printable(hint), ...helps, blocks: true };
}

/** What only limits. */
export function note(
  code: ReasonCode,
  message: string,
  hint: string,
  remedy?: Remedy,
): Reason {
  const helps = remedy === undefined ? {} : { remedy };
  return { code, message: printable(message), hint: printable(hint), ...helps, blocks: false };
}
