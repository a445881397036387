/**
 * The two kinds of reasons.
 */

import { printable } from "../../text/mod.ts";
import type { Reason } from "./unsupported.ts";

/** What stands in the way. */
export function blocks(code: string, message: string, hint: string): Reason {
  return { code, message: printable(message), hint: printable(hint), blocks: true };
}

/** What only limits. */
export function note(code: string, message: string, hint: string): Reason {
  return { code, message: printable(message), hint: printable(hint), blocks: false };
}
