/**
 * Smaller plans that find the same.
 */

import type { AnyKind, Find } from "./_kind.ts";
import { attempt } from "./_try.ts";

/** How long it is tried. */
const MOST_MS = 20_000;
/** A try that finds something else than a hang takes no longer than this. */
const LIMIT_MS = 10_000;

/** The smallest plan that was found to break the same promise, and how. */
export async function shrink(
  kind: AnyKind,
  plan: unknown,
  find: Find,
): Promise<{ readonly plan: unknown; readonly find: Find }> {
  const end = Date.now() + MOST_MS;
  let smallest = { plan, find };
  // What hangs would be waited for again and again.
  if (find.promise === "hang") return smallest;
  for (let found = true; found;) {
    found = false;
    for (const smaller of kind.smaller(smallest.plan)) {
      if (Date.now() > end) return smallest;
      const same = await attempt(kind, smaller, LIMIT_MS);
      if (same?.promise !== find.promise) continue;
      smallest = { plan: smaller, find: same };
      found = true;
      break;
    }
  }
  return smallest;
}
