/**
 * The two kinds of reasons.
 */

import type { Reason } from "./unsupported.ts";

/** What stands in the way. */
export function blocks(code: string, message: string, hint: string): Reason {
  return { code, message, hint, blocks: true };
}

/** What only limits. */
export function note(code: string, message: string, hint: string): Reason {
  return { code, message, hint, blocks: false };
}
