/**
 * Whole transfers on a device fd: short ones go on, EAGAIN waits.
 */

import { ERRNO } from "../kernel/errno.ts";
import { isErrno, SysError } from "../kernel/error.ts";
import { type Kernel, POLLIN, POLLOUT } from "../kernel/kernel.ts";

type Buffer = Uint8Array<ArrayBuffer>;

const still = new Int32Array(new SharedArrayBuffer(4));

/** Waits, on a thread that may: the device's own. */
export function nap(milliseconds: number): void {
  Atomics.wait(still, 0, 0, milliseconds);
}

/** Waits until an fd is ready; a fd without poll is always ready, so this also naps. */
function wait(kernel: Kernel, fd: number, events: number): void {
  kernel.poll(fd, events, 100);
  nap(1);
}

/**
 * Reads until the buffer is full. A driver that returns 0 bytes has no more to
 * give: that is EIO here, since the protocol promised the bytes.
 */
export function preadFull(kernel: Kernel, fd: number, into: Buffer, offset: number): void {
  let done = 0;
  while (done < into.length) {
    try {
      const count = kernel.pread(fd, done === 0 ? into : into.subarray(done), offset + done);
      if (count <= 0) {
        throw new SysError("pread", ERRNO.EIO, `(0 of ${into.length - done} bytes) of fd ${fd}`);
      }
      done += count;
    } catch (error) {
      if (!isErrno(error, "EAGAIN")) throw error;
      wait(kernel, fd, POLLIN);
    }
  }
}

/** Writes all of a buffer. */
export function pwriteFull(kernel: Kernel, fd: number, from: Buffer, offset: number): void {
  let done = 0;
  while (done < from.length) {
    try {
      const count = kernel.pwrite(fd, done === 0 ? from : from.subarray(done), offset + done);
      if (count <= 0) {
        throw new SysError("pwrite", ERRNO.EIO, `(0 of ${from.length - done} bytes) of fd ${fd}`);
      }
      done += count;
    } catch (error) {
      if (!isErrno(error, "EAGAIN")) throw error;
      wait(kernel, fd, POLLOUT);
    }
  }
}
