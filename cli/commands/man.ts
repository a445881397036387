/**
 * `vfiokit man`: the man page.
 *
 * @module
 */

import type { Context } from "../_context.ts";
import { manPage } from "../_man.ts";
import type { ManArgs } from "../table/reference.ts";

/** Runs `man`. */
export function run(_args: ManArgs, context: Context): Promise<number> {
  context.print(...manPage().trimEnd().split("\n"));
  return Promise.resolve(0);
}
