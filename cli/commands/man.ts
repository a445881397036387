/**
 * `vfiokit man`: the man page.
 *
 * @module
 */

import type { Context } from "../context.ts";
import { manPage } from "../man.ts";
import type { ManArgs } from "../specs/uapi_demo_man.ts";

/** Runs `man`. */
export function run(_args: ManArgs, context: Context): Promise<number> {
  context.print(...manPage().trimEnd().split("\n"));
  return Promise.resolve(0);
}
