/**
 * A device that another process has open: `pid:N`, `pid:N/FD`.
 *
 * @module
 */

import { registerErrorClass } from "../base/error_transfer.ts";
import { printable } from "../base/printable.ts";
import { VfiokitError } from "../base/vfiokit_error.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { libcKernel } from "../kernel/libc/libc_kernel.ts";
import { fdOfProcess } from "../kernel/process/fd_of_process.ts";
import { isErrno, SysError } from "../kernel/sys_error.ts";

/** Why a device of another process cannot be had. */
export type ProcessDeviceErrorCode =
  /** The name is not of the form `pid:N` or `pid:N/FD`. */
  | "bad-name"
  /** There is no such process, or it has no such fd. */
  | "no-such-process"
  /** It has no VFIO device open, as far as this user can see. */
  | "no-device"
  /** It has several, and none was named. */
  | "several-devices"
  /** This user may not trace it. */
  | "no-permission"
  /** The system call failed for another reason. */
  | "system-call";

/**
 * A device of another process that cannot be had. Nothing was touched.
 *
 * @example
 * ```ts
 * import { ProcessDevice, ProcessDeviceError } from "vfiokit/vmm";
 * import assert from "node:assert/strict";
 *
 * assert.throws(() => ProcessDevice.take("pid:none"), (error) => {
 *   assert.ok(error instanceof ProcessDeviceError);
 *   assert.equal(error.code, "bad-name");
 *   return true;
 * });
 * ```
 */
export class ProcessDeviceError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `ProcessDeviceError`. */
  override readonly name = "ProcessDeviceError";
  /** Why, as a code. */
  readonly code: ProcessDeviceErrorCode;

  /** Makes the error. */
  constructor(code: ProcessDeviceErrorCode, message: string, hint?: string, cause?: unknown) {
    super(printable(message), { cause }, hint);
    this.code = code;
  }
}

/** The links in /proc/PID/fd of devices: opened by their group, and by their own node. */
const DEVICE = /^(?:anon_inode:\[vfio-device\]|(?:\/dev)?\/vfio\/devices\/vfio\d+)$/;

const NAME = /^pid:([0-9]{1,9})(?:\/([0-9]{1,9}))?$/;

/** Whether a name is that of a device of another process. */
export function isProcessDevice(name: string): boolean {
  return name.startsWith("pid:");
}

/**
 * A device that another process has open, as a duplicate of its fd. Closing it closes the duplicate
 * alone. As long as it is open, the device and its group stay in use, even if the process ends.
 *
 * Needs the right to trace the process (the same user and ptrace_scope 0, or CAP_SYS_PTRACE).
 */
export class ProcessDevice implements Disposable {
  /** The process. */
  readonly pid: number;
  /** The number of the fd there. */
  readonly fd: number;
  /** The number of the duplicate here, which `fd:N` names. */
  readonly own: number;
  readonly #kernel: Kernel;
  #open = true;

  private constructor(kernel: Kernel, pid: number, fd: number) {
    this.#kernel = kernel;
    this.pid = pid;
    this.fd = fd;
    this.own = duplicate(pid, fd);
  }

  /**
   * Takes a device by its name.
   *
   * @throws {ProcessDeviceError} If it cannot be had.
   */
  static take(name: string): ProcessDevice {
    const [, pid, fd] = NAME.exec(name) ?? [];
    if (pid === undefined) {
      throw new ProcessDeviceError(
        "bad-name",
        `Cannot use ${JSON.stringify(name)} as a device name: expected pid:N, or pid:N/FD`,
      );
    }
    const kernel = libcKernel();
    return new ProcessDevice(kernel, Number(pid), chosen(kernel, Number(pid), fd));
  }

  /** The name of exactly this device: `pid:N/FD`. */
  get name(): string {
    return `pid:${this.pid}/${this.fd}`;
  }

  /** Closes the duplicate. Closing again does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#kernel.close(this.own);
  }

  /** Closes the duplicate. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function chosen(kernel: Kernel, pid: number, fd: string | undefined): number {
  const fds = devicesOf(kernel, pid);
  if (fd !== undefined) {
    if (fds.includes(Number(fd))) return Number(fd);
    throw new ProcessDeviceError(
      "no-device",
      `Cannot use fd ${fd} of process ${pid}: it is no VFIO device`,
      fds.length === 0 ? undefined : `Its devices are ${list(pid, fds)}`,
    );
  }
  if (fds.length === 1) return fds[0]!;
  if (fds.length > 1) {
    throw new ProcessDeviceError(
      "several-devices",
      `Cannot choose a device of process ${pid}: it has ${fds.length} open`,
      `Name one: ${list(pid, fds)}`,
    );
  }
  throw new ProcessDeviceError("no-device", `Process ${pid} has no VFIO device open`);
}

function list(pid: number, fds: readonly number[]): string {
  return fds.map((fd) => `pid:${pid}/${fd}`).join(", ");
}

/** The fds of a process that are VFIO devices. */
function devicesOf(kernel: Kernel, pid: number): number[] {
  try {
    return kernel.readDir(`/proc/${pid}/fd`).filter((fd) => {
      try {
        return DEVICE.test(kernel.readLink(`/proc/${pid}/fd/${fd}`));
      } catch (error) {
        // It was closed since the folder was read.
        if (isErrno(error, "ENOENT")) return false;
        throw error;
      }
    }).map(Number).sort((a, b) => a - b);
  } catch (error) {
    throw explained(error, pid);
  }
}

function duplicate(pid: number, fd: number): number {
  try {
    return fdOfProcess(pid, fd);
  } catch (error) {
    throw explained(error, pid);
  }
}

function explained(error: unknown, pid: number): unknown {
  if (!(error instanceof SysError)) return error;
  const because = (code: ProcessDeviceErrorCode, what: string, hint?: string): unknown =>
    new ProcessDeviceError(
      code,
      `Cannot take a device of process ${pid}: ${what} (${error.message})`,
      hint,
      error,
    );
  if (isErrno(error, "ENOENT", "ESRCH", "EBADF")) {
    return because("no-such-process", "there is no such process, or it has closed the device");
  }
  if (isErrno(error, "EPERM", "EACCES")) {
    return because(
      "no-permission",
      "this user may not trace it",
      "Run as root, or with CAP_SYS_PTRACE",
    );
  }
  return because("system-call", "the kernel refuses");
}
