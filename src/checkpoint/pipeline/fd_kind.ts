/**
 * What an fd stands for, as far as it matters to a thread that waits for it.
 */

import * as fs from "node:fs";

/** A regular file, which is always ready; a pipe or fifo; a socket, a terminal, a device. */
export type FdKind = "file" | "fifo" | "other";

/** After so many milliseconds of waiting for an fd a thread looks whether that is still wanted. */
export const WAIT_MS = 100;

/** What an fd that node:fs knows stands for. */
export function fdKind(fd: number): FdKind {
  const stats = fs.fstatSync(fd);
  return stats.isFile() ? "file" : stats.isFIFO() ? "fifo" : "other";
}
