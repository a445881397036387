/**
 * What a try has left open.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { openFiles } from "../_open_files.ts";
import { Find } from "./_kind.ts";

/** How long other threads may take to close what they have, in milliseconds. */
const GRACE_MS = 2000;

/** What is open now. */
export function nowOpen(): Set<string> {
  return new Set(openFiles().map(({ fd, target }) => `${fd} (${target})`));
}

/**
 * Sees to it that nothing is open that was not before; other threads get the time to close theirs.
 *
 * @throws {Find} If something is.
 */
export async function checkNoneLeft(before: ReadonlySet<string>): Promise<void> {
  for (let waited = 0;; waited += 5) {
    const left = [...nowOpen()].filter((each) => !before.has(each));
    if (left.length === 0) return;
    if (waited >= GRACE_MS) {
      throw new Find("leak", `left open: ${left.slice(0, 4).join(", ")}`);
    }
    await sleep(5);
  }
}
