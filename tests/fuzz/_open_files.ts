/**
 * What this process has open.
 */

import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Find } from "./_kind.ts";

/** How long other threads may take to close what they have, in milliseconds. */
const GRACE_MS = 2000;

/** What this process has open: each fd, and what it leads to. */
export function openFiles(): Set<string> {
  return new Set(
    fs.readdirSync("/proc/self/fd").flatMap((fd) => {
      try {
        return [`${fd} (${fs.readlinkSync(`/proc/self/fd/${fd}`)})`];
      } catch {
        // It was that of reading the folder.
        return [];
      }
    }),
  );
}

/**
 * Sees to it that nothing is open that was not before; other threads get the time to close theirs.
 *
 * @throws {Find} If something is.
 */
export async function checkNoneLeft(before: ReadonlySet<string>): Promise<void> {
  for (let waited = 0;; waited += 5) {
    const left = [...openFiles()].filter((each) => !before.has(each));
    if (left.length === 0) return;
    if (waited >= GRACE_MS) {
      throw new Find("leak", `left open: ${left.slice(0, 4).join(", ")}`);
    }
    await sleep(5);
  }
}
