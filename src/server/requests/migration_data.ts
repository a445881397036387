/**
 * The data fd of a v2 device, which stays with the server: a client reads and writes it by messages.
 */

import { SysError } from "../../kernel/sys_error.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { nap } from "../../kernel/process/nap.ts";
import {
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_MIG_GET_PRECOPY_INFO,
} from "../../uapi/mod.ts";
import { refuse } from "./refuse.ts";

/** The states in which a data fd is of use. */
const WITH_DATA: readonly number[] = [
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_DEVICE_STATE_RESUMING,
];

/** How often a driver that has no data yet (EAGAIN) is asked again, a millisecond apart. */
const TRIES = 1000;

type Bytes = Uint8Array<ArrayBuffer>;

/** A device's migration data. */
export class MigrationData {
  readonly #kernel: Kernel;
  #fd: number | null = null;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** The device came to a state, and gave a data fd, or -1. */
  entered(state: number, fd: number): void {
    if (fd >= 0 || !WITH_DATA.includes(state)) this.close();
    if (fd >= 0) this.#fd = fd;
  }

  get #open(): number {
    return this.#fd ?? refuse("EINVAL");
  }

  /** One read(2). */
  read(into: Bytes): number {
    return this.#kernel.read(this.#open, into);
  }

  /** Reads until `into` is full, or there is no more: no data is left, or none for now. */
  readAll(into: Bytes): number {
    let done = 0;
    while (done < into.length) {
      const count = this.#patiently(() => this.read(into.subarray(done)));
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  /** One write(2). */
  write(from: Bytes): number {
    return this.#kernel.write(this.#open, from);
  }

  /** Writes all bytes. */
  writeAll(from: Bytes): void {
    for (let done = 0; done < from.length;) {
      done += this.#patiently(() => this.write(from.subarray(done)));
    }
  }

  /** Repeats a call that cannot be done yet; 0 for pre-copy data that was all read. */
  #patiently(call: () => number): number {
    for (let tried = 0;; tried += 1) {
      try {
        return call();
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        if (error.code === "ENOMSG") return 0;
        if (error.code !== "EAGAIN" || tried === TRIES) throw error;
        nap(1);
      }
    }
  }

  /** VFIO_MIG_GET_PRECOPY_INFO. */
  precopyInfo(argument: Bytes): void {
    this.#kernel.ioctl(this.#open, VFIO_MIG_GET_PRECOPY_INFO, argument);
  }

  /** Closes the data fd. */
  close(): void {
    const fd = this.#fd;
    if (fd === null) return;
    this.#fd = null;
    this.#kernel.close(fd);
  }
}
