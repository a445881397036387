/**
 * An ioctl by its C name, so that a failure says which request failed on what.
 */

import { SysError } from "../kernel/error.ts";
import type { Fd } from "../kernel/fd.ts";
import type { Kernel } from "../kernel/kernel.ts";

/** Kernel.ioctl; a failure is named `ioctl NAME LABEL`. `once`: it is not asked twice after EINTR. */
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
    throw new SysError(`ioctl ${name}`, error.errno, fd.label);
  }
}
