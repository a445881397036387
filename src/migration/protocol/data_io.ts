/**
 * Whole transfers on a device fd: short transfers continue, EAGAIN waits.
 */

import { ERRNO } from "../../kernel/errno_names.ts";
import { isErrno, SysError } from "../../kernel/sys_error.ts";
import type { Fd } from "../../kernel/fd.ts";
import type { DriverNotes } from "../../vfio/notes/driver_notes.ts";
import { FIONBIO, type Kernel, POLLIN, POLLOUT } from "../../kernel/kernel.ts";
import { sleepSync } from "../../kernel/process/sleep_sync.ts";

type Buffer = Uint8Array;

/** Waits until an fd is ready. An fd without poll is always ready, so this also sleeps. */
function wait(kernel: Kernel, fd: number, events: number): void {
  kernel.poll(fd, events, 100);
  sleepSync(1);
}

// Kernel repeats an interrupted pread or pwrite of data: it names its offset in the region, where
// the same bytes are read or written again.

/** Reads and writes the regions of a device's file. */
export class RegionIo {
  readonly #kernel: Kernel;
  readonly #fd: number;
  readonly #notes: DriverNotes;

  constructor(kernel: Kernel, fd: number, notes: DriverNotes) {
    this.#kernel = kernel;
    this.#fd = fd;
    this.#notes = notes;
  }

  /**
   * Reads until the buffer is full. If the driver returns 0 bytes, it has no more: that is EIO here,
   * since the protocol promised the bytes.
   */
  preadFull(into: Buffer, offset: number): void {
    const kernel = this.#kernel;
    const fd = this.#fd;
    let done = 0;
    while (done < into.length) {
      try {
        const count = kernel.pread(fd, done === 0 ? into : into.subarray(done), offset + done);
        const left = into.length - done;
        if (count <= 0 || count > left) {
          throw new SysError("pread", ERRNO.EIO, `(${count} of ${left} bytes) of fd ${fd}`);
        }
        this.#noteShort("pread gave", count, into.length - done);
        done += count;
      } catch (error) {
        if (!isErrno(error, "EAGAIN")) throw error;
        this.#noteNotReady("pread");
        wait(kernel, fd, POLLIN);
      }
    }
  }

  /** Writes all of a buffer. */
  pwriteFull(from: Buffer, offset: number): void {
    const kernel = this.#kernel;
    const fd = this.#fd;
    let done = 0;
    while (done < from.length) {
      try {
        const count = kernel.pwrite(fd, done === 0 ? from : from.subarray(done), offset + done);
        const left = from.length - done;
        if (count <= 0 || count > left) {
          throw new SysError("pwrite", ERRNO.EIO, `(${count} of ${left} bytes) of fd ${fd}`);
        }
        this.#noteShort("pwrite took", count, from.length - done);
        done += count;
      } catch (error) {
        if (!isErrno(error, "EAGAIN")) throw error;
        this.#noteNotReady("pwrite");
        wait(kernel, fd, POLLOUT);
      }
    }
  }

  #noteShort(call: string, count: number, wanted: number): void {
    if (count === wanted) return;
    this.#notes.add("short-transfer", () => `${call} ${count} of ${wanted} bytes`);
  }

  #noteNotReady(call: string): void {
    this.#notes.add("region-not-ready", () => `${call} of the region answered EAGAIN`);
  }
}

/** The longest sleep of {@linkcode Readiness}, in milliseconds: as long as Ctrl-C may wait. */
const LONGEST_NAP_MS = 64;

/**
 * Waits for an fd that answered EAGAIN. If poll reports it ready and the next call is EAGAIN again,
 * poll is not reliable (a file without poll is always ready): then this sleeps, longer each time.
 */
export class Readiness {
  readonly #kernel: Kernel;
  readonly #fd: Fd;
  readonly #events: number;
  readonly #notes: DriverNotes;
  #napMs = 0;

  constructor(kernel: Kernel, fd: Fd, events: number, notes: DriverNotes) {
    this.#kernel = kernel;
    this.#fd = fd;
    this.#events = events;
    this.#notes = notes;
  }

  /** Call this after EAGAIN. */
  wait(): void {
    if (this.#kernel.poll(this.#fd.number, this.#events, 100) === 0) return;
    if (this.#napMs > 0) {
      const call = this.#events === POLLIN ? "read" : "write";
      this.#notes.add("poll-ready", () => `poll said ready, and ${call} answered EAGAIN again`);
      sleepSync(this.#napMs);
    }
    this.#napMs = Math.min(LONGEST_NAP_MS, Math.max(1, this.#napMs * 2));
  }

  /** Call this after data was moved. */
  moved(): void {
    this.#napMs = 0;
  }
}

/**
 * Sets O_NONBLOCK (FIONBIO, which Linux takes for any file): a call that has to wait for the device
 * answers EAGAIN, and the caller can be interrupted.
 */
export function setNonBlocking(kernel: Kernel, fd: Fd): void {
  const on = new Uint8Array(new Int32Array([1]).buffer);
  try {
    kernel.ioctl(fd.number, FIONBIO, on);
  } catch (error) {
    // Then its calls block, as before.
    if (!(error instanceof SysError)) throw error;
  }
}
