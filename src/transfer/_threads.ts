/**
 * Which threads a transfer has, and how the caller's own does its part.
 */

import { setImmediate } from "node:timers";
import { fileError } from "../checkpoint/file/file_error.ts";
import { type FdKind, fdKind } from "../checkpoint/pipeline/fd_kind.ts";
import { libcAllowed } from "../kernel/libc/calls_with_errno.ts";
import { hasThread } from "../migration/thread/session_client.ts";
import type { Device } from "../migration/device.ts";

/**
 * Whether a checkpoint can be written or read on a thread of its own: it takes
 * libc, and is worth it if no device is served on the caller's thread.
 */
export function canUseIoThread(devices: readonly Device[]): boolean {
  return libcAllowed() && devices.every(hasThread);
}

/**
 * What the fd of a sink or a source stands for.
 *
 * @throws {CheckpointFileError} If it is none.
 */
export function kindOf(fd: number, action: "read" | "write", path: string = ""): FdKind {
  try {
    return fdKind(fd);
  } catch (error) {
    throw fileError(action, path, error);
  }
}

/** Lets everything else that this thread has to do have its turn. */
export function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
