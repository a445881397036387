/**
 * Calls an ioctl by its C name, so that an error says which request failed, and on which object.
 */

import { SysError } from "../kernel/sys_error.ts";
import type { Fd } from "../kernel/fd.ts";

/** A request: its C name, which errors say, and its number; `{ VFIO_DEVICE_RESET }`. */
export type IoctlRequest = Readonly<Record<string, number>>;

/** The name of a request. */
export function requestName(request: IoctlRequest): string {
  return Object.keys(request)[0]!;
}

/**
 * Calls Kernel.ioctl; errors are named `ioctl NAME LABEL`. `once`: not repeated after EINTR.
 */
export function ioctl(
  fd: Fd,
  request: IoctlRequest,
  arg?: Uint8Array<ArrayBuffer> | number,
  once?: "once",
): number {
  const name = requestName(request);
  try {
    return fd.kernel.ioctl(fd.number, request[name]!, arg, once);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new SysError(`ioctl ${name}`, error.errno, fd.label, error.detail);
  }
}
