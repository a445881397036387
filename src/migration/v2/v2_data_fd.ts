/**
 * The fd that a v2 device's data moves through: it comes with a state, or from
 * the process that brought the device there.
 */

import { cleanedUp } from "../../base/cleanup.ts";
import { SysError } from "../../kernel/sys_error.ts";
import { Fd } from "../../kernel/fd.ts";
import { VFIO_MIG_GET_PRECOPY_INFO, vfioPrecopyInfo } from "../../uapi/mod.ts";
import type { VfioDevice } from "../../vfio/device/device.ts";
import type { DataFdHandover } from "./data_fd_handover.ts";
import { DriverError } from "../protocol/recovery.ts";
import { setNonBlocking } from "../protocol/io.ts";

/** Owns a device's data fd. */
export class V2DataFd {
  readonly #device: VfioDevice;
  readonly #handover: DataFdHandover | null;
  #fd: Fd | null = null;

  /** `place`: where it is handed from one process to the next. */
  constructor(device: VfioDevice, place: DataFdHandover | null) {
    this.#device = device;
    this.#handover = place;
  }

  /**
   * The fd.
   *
   * @throws {DriverError} If the driver gave none.
   */
  get fd(): Fd {
    if (this.#fd === null) throw new DriverError("the driver gave no data fd", "no-data-fd");
    return this.#fd;
  }

  /** Whether there is one. */
  get open(): boolean {
    return this.#fd !== null;
  }

  /** Whether there is a place to hand it over by. */
  get hasHandover(): boolean {
    return this.#handover !== null;
  }

  /** Takes the kernel's new one; a former one, which it has ended, is closed. */
  adopt(number: number, state: string): void {
    this.close();
    const { kernel, label } = this.#device;
    this.#keep(Fd.own(kernel, number, `${label} data fd (${state})`));
  }

  #keep(fd: Fd): void {
    this.#fd = fd;
    setNonBlocking(this.#device.kernel, fd);
  }

  /**
   * Puts it, where there is one, where another process takes it; none is left here.
   *
   * @throws {SysError} If it cannot be put there; it is still here then.
   */
  handOver(): void {
    if (this.#fd !== null) this.#handover?.put(this.#fd);
    this.close();
  }

  /**
   * Takes what another process put there, and looks that it is the data fd of a device in
   * pre-copy. What is not is closed.
   *
   * @returns Whether there was any.
   * @throws {SysError} If it is no data fd (ENOTTY), its device is not in pre-copy (EINVAL), or
   * has left that state since (ENODEV); or if the place is none.
   */
  takeOver(): boolean {
    const { kernel, label } = this.#device;
    const fd = this.#handover?.take(`${label} data fd (handed over)`) ?? null;
    if (fd === null) return false;
    try {
      kernel.ioctl(fd.number, VFIO_MIG_GET_PRECOPY_INFO, vfioPrecopyInfo.pack({}));
    } catch (error) {
      throw cleanedUp(error, () => fd.close());
    }
    this.#keep(fd);
    return true;
  }

  /** Closes it, where there is one. */
  close(): void {
    try {
      this.#fd?.close();
    } catch (error) {
      // It is closed all the same, or was before: nothing that could be done about it.
      if (!(error instanceof SysError)) throw error;
      this.#device.notes.add("data-fd-close", () => error.message);
    }
    this.#fd = null;
  }
}
