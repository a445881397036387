/**
 * libc with the kernel's return convention: every call returns its result, or
 * -errno. This is where errno is read. Nothing runs between a call and reading
 * errno: an allocation in between could make the runtime issue a system call of
 * its own, which would overwrite errno.
 */

import process from "node:process";
import { loadBun } from "./load_in_bun.ts";
import { loadDeno } from "./load_in_deno.ts";
import { type Buffer, libcPaths, type Symbols } from "./symbols.ts";

/** The most that one call transfers: the kernel's own MAX_RW_COUNT. */
const MAX_COUNT = 0x7fff_f000;

/** What memory is compared with: it stays in the processor's cache. */
const ZEROS: Buffer = new Uint8Array(new ArrayBuffer(4096));

/** The loaded libc of this thread. */
export class Libc {
  readonly #call: Symbols;
  readonly #errnoAt: bigint;
  readonly #errno = new Int32Array(new ArrayBuffer(4));
  readonly #errnoBytes: Buffer = new Uint8Array(this.#errno.buffer);

  constructor(symbols: Symbols) {
    this.#call = symbols;
    this.#errnoAt = symbols.errno_location();
  }

  #failed(): number {
    this.#call.copy_out(this.#errnoBytes, this.#errnoAt, 4);
    return -this.#errno[0]!;
  }

  open(path: Buffer, flags: number): number {
    const result = this.#call.open(path, flags);
    return result === -1 ? this.#failed() : result;
  }

  close(fd: number): number {
    const result = this.#call.close(fd);
    return result === -1 ? this.#failed() : result;
  }

  ioctl(fd: number, request: number, arg: Buffer): number {
    const result = this.#call.ioctl(fd, request, arg);
    return result === -1 ? this.#failed() : result;
  }

  ioctlValue(fd: number, request: number, arg: number): number {
    const result = this.#call.ioctl_value(fd, request, arg);
    return result === -1 ? this.#failed() : result;
  }

  read(fd: number, buffer: Uint8Array): number {
    const result = this.#call.read(fd, buffer, Math.min(buffer.length, MAX_COUNT));
    return result === -1 ? this.#failed() : result;
  }

  write(fd: number, buffer: Uint8Array): number {
    const result = this.#call.write(fd, buffer, Math.min(buffer.length, MAX_COUNT));
    return result === -1 ? this.#failed() : result;
  }

  pread(fd: number, buffer: Uint8Array, offset: number | bigint): number {
    const result = this.#call.pread(fd, buffer, Math.min(buffer.length, MAX_COUNT), offset);
    return result === -1 ? this.#failed() : result;
  }

  pwrite(fd: number, buffer: Uint8Array, offset: number | bigint): number {
    const result = this.#call.pwrite(fd, buffer, Math.min(buffer.length, MAX_COUNT), offset);
    return result === -1 ? this.#failed() : result;
  }

  /** Returns the address, or -errno as a bigint. */
  mmap(length: number, prot: number, flags: number, fd: number, offset: number | bigint): bigint {
    const result = this.#call.mmap(0, length, prot, flags, fd, offset);
    return result === -1n ? BigInt(this.#failed()) : BigInt(result);
  }

  munmap(address: bigint, length: number): number {
    const result = this.#call.munmap(address, length);
    return result === -1 ? this.#failed() : result;
  }

  poll(fds: Buffer, timeoutMs: number): number {
    const result = this.#call.poll(fds, fds.length / 8, timeoutMs);
    return result === -1 ? this.#failed() : result;
  }

  readlink(path: Buffer, into: Buffer): number {
    const result = this.#call.readlink(path, into, into.length);
    return result === -1 ? this.#failed() : result;
  }

  /** `into` must have PATH_MAX (4096) bytes: realpath(3) takes no length. */
  realpath(path: Buffer, into: Buffer): number {
    const result = this.#call.realpath(path, into);
    return result === 0n ? this.#failed() : 0;
  }

  getdents64(fd: number, into: Buffer): number {
    const result = this.#call.getdents64(fd, into, into.length);
    return result === -1 ? this.#failed() : result;
  }

  fcntl(fd: number, command: number, arg: number): number {
    const result = this.#call.fcntl(fd, command, arg);
    return result === -1 ? this.#failed() : result;
  }

  dup3(from: number, to: number, flags: number): number {
    const result = this.#call.dup3(from, to, flags);
    return result === -1 ? this.#failed() : result;
  }

  memfdCreate(name: Buffer, flags: number): number {
    const result = this.#call.memfd_create(name, flags);
    return result === -1 ? this.#failed() : result;
  }

  ftruncate(fd: number, length: number): number {
    const result = this.#call.ftruncate(fd, length);
    return result === -1 ? this.#failed() : result;
  }

  syncFileRange(fd: number, offset: number, length: number, flags: number): number {
    const result = this.#call.sync_file_range(fd, offset, length, flags);
    return result === -1 ? this.#failed() : result;
  }

  socketpair(domain: number, type: number, protocol: number, fds: Buffer): number {
    const result = this.#call.socketpair(domain, type, protocol, fds);
    return result === -1 ? this.#failed() : result;
  }

  sendmsg(fd: number, message: Buffer, flags: number): number {
    const result = this.#call.sendmsg(fd, message, flags);
    return result === -1 ? this.#failed() : result;
  }

  recvmsg(fd: number, message: Buffer, flags: number): number {
    const result = this.#call.recvmsg(fd, message, flags);
    return result === -1 ? this.#failed() : result;
  }

  socket(domain: number, type: number, protocol: number): number {
    const result = this.#call.socket(domain, type, protocol);
    return result === -1 ? this.#failed() : result;
  }

  connect(fd: number, address: Buffer): number {
    const result = this.#call.connect(fd, address, address.length);
    return result === -1 ? this.#failed() : result;
  }

  bind(fd: number, address: Buffer): number {
    const result = this.#call.bind(fd, address, address.length);
    return result === -1 ? this.#failed() : result;
  }

  listen(fd: number, backlog: number): number {
    const result = this.#call.listen(fd, backlog);
    return result === -1 ? this.#failed() : result;
  }

  /** The address of the peer is not asked for. */
  accept4(fd: number, flags: number): number {
    const result = this.#call.accept4(fd, 0, 0, flags);
    return result === -1 ? this.#failed() : result;
  }

  getsockopt(fd: number, level: number, option: number, value: Buffer, length: Buffer): number {
    const result = this.#call.getsockopt(fd, level, option, value, length);
    return result === -1 ? this.#failed() : result;
  }

  setsockopt(fd: number, level: number, option: number, value: Buffer): number {
    const result = this.#call.setsockopt(fd, level, option, value, value.length);
    return result === -1 ? this.#failed() : result;
  }

  send(fd: number, buffer: Uint8Array, flags: number): number {
    const result = this.#call.send(fd, buffer, Math.min(buffer.length, MAX_COUNT), flags);
    return result === -1 ? this.#failed() : result;
  }

  recv(fd: number, buffer: Uint8Array, flags: number): number {
    const result = this.#call.recv(fd, buffer, Math.min(buffer.length, MAX_COUNT), flags);
    return result === -1 ? this.#failed() : result;
  }

  shutdown(fd: number, how: number): number {
    const result = this.#call.shutdown(fd, how);
    return result === -1 ? this.#failed() : result;
  }

  sigprocmask(how: number, set: Buffer, old: Buffer): number {
    const result = this.#call.sigprocmask(how, set, old);
    return result === -1 ? this.#failed() : result;
  }

  syscall(number: number, a: number, b: number, c: number): number {
    const result = this.#call.syscall(number, a, b, c);
    return result === -1 ? this.#failed() : result;
  }

  /** Where a buffer is in memory. */
  addressOf(buffer: Uint8Array): bigint {
    return this.#call.memset(buffer, 0, 0);
  }

  copyOut(from: bigint, into: Uint8Array): void {
    this.#call.copy_out(into, from, into.length);
  }

  /** Whether there are but zeros in `length` bytes from an address on. */
  isZero(address: bigint, length: number): boolean {
    for (let at = 0; at < length; at += ZEROS.length) {
      const count = Math.min(ZEROS.length, length - at);
      if (this.#call.memcmp(address + BigInt(at), ZEROS, count) !== 0) return false;
    }
    return true;
  }

  copyIn(to: bigint, from: Uint8Array): void {
    this.#call.copy_in(to, from, from.length);
  }
}

let loaded: Libc | undefined;

/** Whether libc can be loaded without a permission prompt. */
export function libcAllowed(): boolean {
  if (process.platform !== "linux") return false;
  if (!("Deno" in globalThis)) return true;
  return libcPaths(process.arch).some((path) =>
    Deno.permissions.querySync({ name: "ffi", path }).state === "granted"
  );
}

/** This thread's libc, loaded on the first call. Importing this file loads nothing. */
export function libc(): Libc {
  if (loaded === undefined) {
    if (process.platform !== "linux") {
      throw new Error(
        `Cannot load libc: VFIO is a Linux interface, and this is "${process.platform}"`,
      );
    }
    const load = "Deno" in globalThis ? loadDeno : loadBun;
    loaded = new Libc(load(libcPaths(process.arch)));
  }
  return loaded;
}
