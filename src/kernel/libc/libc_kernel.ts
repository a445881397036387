/**
 * The real kernel, reached through libc.
 *
 * @module
 */

import { cleanlyThen } from "../../base/cleanup.ts";
import { SysError } from "../sys_error.ts";
import { ERRNO } from "../errno_names.ts";
import {
  type Kernel,
  type Mapping,
  MFD_CLOEXEC,
  type MmapOptions,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDONLY,
  type ReceivedMessage,
} from "../kernel.ts";
import { checkRange } from "../mapping_range.ts";
import { type Libc, libc, libcAllowed } from "./calls_with_errno.ts";
import { FdMessages, socketPair } from "./fd_messages.ts";

export { libcAllowed };

type Buffer = Uint8Array<ArrayBuffer>;

const PATH_MAX = 4096;
const TEXT_MAX = 1 << 20;

function cString(text: string): Buffer {
  if (text.includes("\0")) {
    throw new RangeError(`Cannot use path ${JSON.stringify(text)}: it contains a NUL`);
  }
  return new TextEncoder().encode(`${text}\0`);
}

function buffer(length: number): Buffer {
  return new Uint8Array(new ArrayBuffer(length));
}

function untilNul(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

class LibcMapping implements Mapping {
  readonly #libc: Libc;
  readonly address: bigint;
  readonly length: number;
  #open = true;

  constructor(lib: Libc, address: bigint, length: number) {
    this.#libc = lib;
    this.address = address;
    this.length = length;
  }

  #check(offset: number, count: number): bigint {
    checkRange(this, this.#open, offset, count);
    return this.address + BigInt(offset);
  }

  read(offset: number, into: Uint8Array): void {
    this.#libc.copyOut(this.#check(offset, into.length), into);
  }

  write(offset: number, from: Uint8Array): void {
    this.#libc.copyIn(this.#check(offset, from.length), from);
  }

  isZero(offset: number, length: number): boolean {
    return this.#libc.isZero(this.#check(offset, length), length);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    const result = this.#libc.munmap(this.address, this.length);
    if (result < 0) throw new SysError("munmap", -result);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** {@linkcode Kernel} over libc. One per thread, because errno is per thread. */
class LibcKernel implements Kernel {
  readonly name = "linux";
  readonly #libc: Libc;
  readonly #messages: FdMessages;
  readonly #pollfd = buffer(8);
  readonly #pollView: DataView = new DataView(this.#pollfd.buffer);

  constructor(lib: Libc) {
    this.#libc = lib;
    this.#messages = new FdMessages(this, lib);
  }

  open(path: string, flags: number): number {
    const bytes = cString(path);
    for (;;) {
      const fd = this.#libc.open(bytes, flags | O_CLOEXEC);
      if (fd >= 0) return fd;
      if (fd !== -ERRNO.EINTR) throw new SysError("open", -fd, path);
    }
  }

  close(fd: number): void {
    // Not retried on EINTR: Linux has already released the fd.
    const result = this.#libc.close(fd);
    if (result < 0 && result !== -ERRNO.EINTR) throw new SysError("close", -result, `fd ${fd}`);
  }

  ioctl(fd: number, request: number, arg: Buffer | number = 0, once?: "once"): number {
    for (;;) {
      const result = typeof arg === "number"
        ? this.#libc.ioctlValue(fd, request, arg)
        : this.#libc.ioctl(fd, request, arg);
      if (result >= 0) return result;
      if (result !== -ERRNO.EINTR || once) {
        throw new SysError("ioctl", -result, `0x${request.toString(16)} on fd ${fd}`);
      }
    }
  }

  read(fd: number, into: Uint8Array, once?: "once"): number {
    for (;;) {
      const result = this.#libc.read(fd, into);
      if (result >= 0) return result;
      if (result !== -ERRNO.EINTR || once) throw new SysError("read", -result, `fd ${fd}`);
    }
  }

  write(fd: number, from: Uint8Array, once?: "once"): number {
    for (;;) {
      const result = this.#libc.write(fd, from);
      if (result >= 0) return result;
      if (result !== -ERRNO.EINTR || once) throw new SysError("write", -result, `fd ${fd}`);
    }
  }

  pread(fd: number, into: Uint8Array, offset: number | bigint): number {
    for (;;) {
      const result = this.#libc.pread(fd, into, offset);
      if (result >= 0) return result;
      if (result !== -ERRNO.EINTR) {
        throw new SysError("pread", -result, `${into.length} bytes at ${offset} of fd ${fd}`);
      }
    }
  }

  pwrite(fd: number, from: Uint8Array, offset: number | bigint, once?: "once"): number {
    for (;;) {
      const result = this.#libc.pwrite(fd, from, offset);
      if (result >= 0) return result;
      if (result !== -ERRNO.EINTR || once) {
        throw new SysError("pwrite", -result, `${from.length} bytes at ${offset} of fd ${fd}`);
      }
    }
  }

  mmap(length: number, options: MmapOptions): Mapping {
    const { fd = -1, offset = 0, prot, flags } = options;
    const address = this.#libc.mmap(length, prot, flags, fd, offset);
    // The upper half of the address space belongs to the kernel, so a negative value is -errno.
    if (address < 0n) {
      throw new SysError("mmap", Number(-address), `${length} bytes at ${offset} of fd ${fd}`);
    }
    return new LibcMapping(this.#libc, address, length);
  }

  memfd(name: string, length: number, flags = 0): number {
    const fd = this.#libc.memfdCreate(cString(name), flags | MFD_CLOEXEC);
    if (fd < 0) throw new SysError("memfd_create", -fd, `"${name}"`);
    const result = this.#libc.ftruncate(fd, length);
    if (result < 0) {
      this.#libc.close(fd);
      throw new SysError("ftruncate", -result, `memfd "${name}" to ${length} bytes`);
    }
    return fd;
  }

  dup3(from: number, to: number): void {
    for (;;) {
      const result = this.#libc.dup3(from, to, O_CLOEXEC);
      if (result >= 0) return;
      if (result !== -ERRNO.EINTR) throw new SysError("dup3", -result, `fd ${from} to ${to}`);
    }
  }

  socketPair(): [number, number] {
    return socketPair(this.#libc);
  }

  sendFds(socket: number, message: Buffer, fds: readonly number[]): void {
    this.#messages.send(socket, message, fds);
  }

  receiveFds(socket: number, into: Buffer, maxFds: number): ReceivedMessage {
    return this.#messages.receive(socket, into, maxFds);
  }

  poll(fd: number, events: number, timeoutMs: number): number {
    this.#pollView.setInt32(0, fd, true);
    this.#pollView.setInt16(4, events, true);
    this.#pollView.setInt16(6, 0, true);
    const result = this.#libc.poll(this.#pollfd, timeoutMs);
    // An interrupted wait counts as "no event yet"; a retry would wait for the full time again.
    if (result < 0 && result !== -ERRNO.EINTR) throw new SysError("poll", -result, `fd ${fd}`);
    return result <= 0 ? 0 : this.#pollView.getInt16(6, true);
  }

  readText(path: string, maxBytes = TEXT_MAX): string {
    const fd = this.open(path, O_RDONLY);
    return cleanlyThen(() => {
      const chunks: Buffer[] = [];
      let total = 0;
      for (;;) {
        const chunk = buffer(4096);
        const count = this.read(fd, chunk);
        if (count === 0) break;
        total += count;
        if (total > maxBytes) {
          throw new SysError("read", ERRNO.EFBIG, `${path} (more than ${maxBytes} bytes)`);
        }
        chunks.push(chunk.subarray(0, count));
      }
      const decoder = new TextDecoder();
      return chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") +
        decoder.decode();
    }, () => this.close(fd));
  }

  readLink(path: string): string {
    const into = buffer(PATH_MAX);
    const length = this.#libc.readlink(cString(path), into);
    if (length < 0) throw new SysError("readlink", -length, path);
    return new TextDecoder().decode(into.subarray(0, length));
  }

  realPath(path: string): string {
    const into = buffer(PATH_MAX);
    const result = this.#libc.realpath(cString(path), into);
    if (result < 0) throw new SysError("realpath", -result, path);
    return untilNul(into);
  }

  readDir(path: string): string[] {
    const fd = this.open(path, O_RDONLY | O_NONBLOCK);
    return cleanlyThen(() => {
      const names: string[] = [];
      const entries = buffer(32768);
      const view = new DataView(entries.buffer);
      for (;;) {
        const length = this.#libc.getdents64(fd, entries);
        if (length < 0) throw new SysError("getdents64", -length, path);
        if (length === 0) break;
        // struct linux_dirent64: d_ino u64, d_off s64, d_reclen u16, d_type u8, d_name[]
        for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
          const name = untilNul(entries.subarray(at + 19, at + view.getUint16(at + 16, true)));
          if (name !== "." && name !== "..") names.push(name);
        }
      }
      return names.sort();
    }, () => this.close(fd));
  }
}

let shared: LibcKernel | undefined;

/**
 * The running Linux kernel, called through libc. Loads libc on the first call;
 * needs `--allow-ffi` in Deno.
 *
 * @throws {Error} If the system is not Linux.
 *
 * @example
 * ```ts
 * import { libcKernel } from "vfiokit/kernel";
 * import assert from "node:assert/strict";
 *
 * const kernel = libcKernel();
 * assert.equal(kernel.readText("/proc/sys/kernel/ostype"), "Linux\n");
 * ```
 */
export function libcKernel(): Kernel {
  return shared ??= new LibcKernel(libc());
}
