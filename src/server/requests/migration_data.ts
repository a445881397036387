/**
 * The data fd of a v2 device, which stays with the server: a client reads and writes it by messages.
 */

import { SysError } from "../../kernel/sys_error.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { sleepSync } from "../../kernel/process/sleep_sync.ts";
import {
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_MIG_GET_PRECOPY_INFO,
} from "../../uapi/mod.ts";
import { errnoOfRefusal, refuse } from "./refuse.ts";

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

const NOTHING: Bytes = new Uint8Array(0);

/**
 * A device's migration data. In STOP_COPY it is read one read(2) ahead of the clients: what comes
 * then is in the stream already, and stays there for as long as the device is in that state.
 */
export class MigrationData {
  readonly #kernel: Kernel;
  readonly #readsAhead: boolean;
  #fd: number | null = null;
  #stopCopy = false;
  /** What was read last. */
  #buffer: Bytes = NOTHING;
  /** The rest of what was read ahead, in the buffer. */
  #ahead: Bytes = NOTHING;
  /** Why the read ahead failed. */
  #failure: { readonly error: unknown } | null = null;
  /** How much to read ahead, in bytes: the last read, if that was full; else 0. */
  #next = 0;

  /** @param readsAhead Whether the device may be read before a client asks for it. */
  constructor(kernel: Kernel, readsAhead: boolean) {
    this.#kernel = kernel;
    this.#readsAhead = readsAhead;
  }

  /** The device came to a state, and gave a data fd, or -1. */
  entered(state: number, fd: number): void {
    if (fd >= 0 || !WITH_DATA.includes(state)) this.close();
    if (fd >= 0) this.#fd = fd;
    this.#next = 0;
    this.isIn(state);
  }

  /** The device was found to be in a state. */
  isIn(state: number): void {
    this.#stopCopy = state === VFIO_DEVICE_STATE_STOP_COPY;
    if (!this.#stopCopy) this.dropAhead();
  }

  /** The device may have left its state: what was read ahead stays only if that can be ruled out. */
  check(state: () => number): void {
    if (this.#ahead.length === 0 && this.#failure === null) return;
    try {
      this.isIn(state());
    } catch (error) {
      if (errnoOfRefusal(error) === null) throw error;
      this.dropAhead();
    }
  }

  /** The data that was read ahead is not the device's any more. */
  dropAhead(): void {
    this.#ahead = NOTHING;
    this.#failure = null;
    this.#next = 0;
  }

  get #open(): number {
    return this.#fd ?? refuse("EINVAL");
  }

  /** One read(2) of at most `size` bytes. The next call may overwrite what is returned. */
  read(size: number): Bytes {
    const fd = this.#open;
    const ahead = this.#takeAhead(size);
    if (ahead.length > 0) return ahead;
    const into = this.#room(size);
    const data = into.subarray(0, this.#kernel.read(fd, into));
    this.#next = data.length === size ? size : 0;
    return data;
  }

  /**
   * Reads `size` bytes, or what there is: no data is left, or none for now. The next call may
   * overwrite what is returned.
   */
  readAll(size: number): Bytes {
    const fd = this.#open;
    const ahead = this.#takeAhead(size);
    const into = this.#room(size);
    into.set(ahead);
    let done = ahead.length;
    while (done < size) {
      const count = this.#patiently(() => this.#kernel.read(fd, into.subarray(done)));
      if (count === 0) break;
      done += count;
    }
    return into.subarray(0, done);
  }

  /** Reads what a client that reads on will ask for next. An error is that of the next read. */
  readAhead(): void {
    const size = this.#next;
    if (!this.#readsAhead || !this.#stopCopy || size === 0 || this.#ahead.length > 0) return;
    this.#next = 0;
    try {
      const into = this.#room(size);
      this.#ahead = into.subarray(0, this.#kernel.read(this.#open, into));
    } catch (error) {
      if (errnoOfRefusal(error) === null) throw error;
      this.#failure = { error };
    }
  }

  /** Up to `size` bytes of what was read ahead. */
  #takeAhead(size: number): Bytes {
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure.error;
    const ahead = this.#ahead.subarray(0, size);
    this.#ahead = this.#ahead.subarray(ahead.length);
    // A read that came short may have been the last.
    this.#next = ahead.length === size ? size : 0;
    return ahead;
  }

  #room(size: number): Bytes {
    if (this.#buffer.length < size) this.#buffer = new Uint8Array(size);
    return this.#buffer.subarray(0, size);
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
        sleepSync(1);
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
    this.dropAhead();
    this.#kernel.close(fd);
  }
}
