/**
 * Calls an ioctl by its C name, so that an error says which request failed, and on which object.
 */

import { SysError } from "../kernel/sys_error.ts";
import type { Fd } from "../kernel/fd.ts";
import type { Kernel } from "../kernel/kernel.ts";

/** Calls Kernel.ioctl; errors are named `ioctl NAME LABEL`. `once`: not repeated after EINTR. */
export function ioctl(
  kernel: Kernel,
  fd: Fd,
  name: string,
  request: number,
  arg?: Uint8Array<ArrayBuffer> | number,
  once?: "once",
): number {
  try {
    return kernel.ioctl(fd.number, request, arg, once);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new SysError(`ioctl ${name}`, error.errno, fd.label, error.detail);
  }
}
