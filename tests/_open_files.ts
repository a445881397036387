/** What this process has open. */

import * as fs from "node:fs";

/** Each fd that is open, and what it leads to. */
export function openFiles(): { readonly fd: string; readonly target: string }[] {
  return fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      return [{ fd, target: fs.readlinkSync(`/proc/self/fd/${fd}`) }];
    } catch {
      // It was that of reading the folder.
      return [];
    }
  });
}
