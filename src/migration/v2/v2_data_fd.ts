/**
 * The fd for a v2 device's data: it comes with a state, or from the process that brought the device
 * into that state.
 */

import { cleanedUp } from "../../base/cleanup.ts";
import { SysError } from "../../kernel/sys_error.ts";
import { Fd } from "../../kernel/fd.ts";
import { VFIO_MIG_GET_PRECOPY_INFO, vfioPrecopyInfo } from "../../uapi/mod.ts";
import type { VfioDevice } from "../../vfio/device/device.ts";
import type { DataFdHandover } from "./data_fd_handover.ts";
import type { Counters } from "../protocol/engine.ts";
import { DriverError } from "../protocol/recovery.ts";
import { setNonBlocking } from "../protocol/data_io.ts";

/** Owns a device's data fd. */
export class V2DataFd {
  readonly #device: VfioDevice;
  readonly #handover: DataFdHandover | null;
  readonly #counters: Pick<Counters, "dataFd">;
  #fd: Fd | null = null;

  /** `place`: the sockets that hand it from one process to the next. */
  constructor(
    device: VfioDevice,
    place: DataFdHandover | null,
    counters: Pick<Counters, "dataFd">,
  ) {
    this.#device = device;
    this.#handover = place;
    this.#counters = counters;
  }

  /**
   * The fd.
   *
   * @throws {DriverError} If the driver gave no fd.
   */
  get fd(): Fd {
    if (this.#fd === null) throw new DriverError("the driver gave no data fd", "no-data-fd");
    return this.#fd;
  }

  /** Whether there is an fd. */
  get open(): boolean {
    return this.#fd !== null;
  }

  /** Whether there are sockets for it. */
  get hasHandover(): boolean {
    return this.#handover !== null;
  }

  /** Takes a new fd from the kernel; the earlier one, which the kernel has ended, is closed. */
  adopt(number: number, state: string): void {
    this.close();
    const { kernel, label } = this.#device;
    this.#keep(Fd.own(kernel, number, `${label} data fd (${state})`));
  }

  #keep(fd: Fd): void {
    this.#fd = fd;
    this.#counters.dataFd = fd.number;
    setNonBlocking(this.#device.kernel, fd);
  }

  /**
   * Sends the fd, if there is one, for another process; this process does not keep it.
   *
   * @throws {SysError} If it cannot be sent; then this process keeps it.
   */
  handOver(): void {
    if (this.#fd !== null) this.#handover?.put(this.#fd);
    this.close();
  }

  /**
   * Receives the fd that another process sent, and checks that it is the data fd of a device in
   * pre-copy. Closes any other fd.
   *
   * @returns Whether there was an fd.
   * @throws {SysError} If it is not a data fd (ENOTTY), its device is not in pre-copy (EINVAL) or
   * has left that state since (ENODEV), or if the sockets are not sockets.
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

  /** Closes the fd, if there is one. */
  close(): void {
    // Before it is closed: its number may then be another file's.
    this.#counters.dataFd = null;
    try {
      this.#fd?.close();
    } catch (error) {
      // It is closed nevertheless, or was before; there is nothing to do about it.
      if (!(error instanceof SysError)) throw error;
      this.#device.notes.add("data-fd-close", () => error.message);
    }
    this.#fd = null;
  }
}
