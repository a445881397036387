/**
 * libc's functions through `Deno.dlopen`.
 *
 * An argument that has 64 bits in C must be passed as a bigint. Deno accepts a
 * number as well, but the code that V8 compiles for a hot call expects a bigint.
 * A number makes V8 discard that code on every call, so it compiles over and over.
 */

import type { Symbols } from "./symbols.ts";

const TABLE = {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  // unsigned long in C, of which Linux takes 32 bits.
  ioctl: { parameters: ["i32", "u32", "buffer"], result: "i32" },
  ioctl_value: { name: "ioctl", parameters: ["i32", "u32", "usize"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "i32" },
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "i32" },
  mmap: { parameters: ["usize", "usize", "i32", "i32", "i32", "i64"], result: "i64" },
  munmap: { parameters: ["usize", "usize"], result: "i32" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
  readlink: { parameters: ["buffer", "buffer", "usize"], result: "i32" },
  realpath: { parameters: ["buffer", "buffer"], result: "usize" },
  getdents64: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  dup3: { parameters: ["i32", "i32", "i32"], result: "i32" },
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  sync_file_range: { parameters: ["i32", "i64", "i64", "u32"], result: "i32" },
  socketpair: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  sendmsg: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  recvmsg: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  accept4: { parameters: ["i32", "usize", "usize", "i32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  sigprocmask: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  syscall: { parameters: ["i64", "i64", "i64", "i64"], result: "i32" },
  errno_location: { name: "__errno_location", parameters: [], result: "usize" },
  memset: { parameters: ["buffer", "i32", "usize"], result: "usize" },
  memcmp: { parameters: ["usize", "buffer", "usize"], result: "i32" },
  copy_out: { name: "memmove", parameters: ["buffer", "usize", "usize"], result: "void" },
  copy_in: { name: "memmove", parameters: ["usize", "buffer", "usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

type Calls = Deno.DynamicLibrary<typeof TABLE>["symbols"];

/** Converts the arguments that have 64 bits in C from number to bigint. */
function widened(libc: Calls): Symbols {
  return {
    ...libc,
    ioctl_value: (fd, request, arg) => libc.ioctl_value(fd, request, BigInt(arg)),
    read: (fd, buffer, count) => libc.read(fd, buffer, BigInt(count)),
    write: (fd, buffer, count) => libc.write(fd, buffer, BigInt(count)),
    pread: (fd, buffer, count, offset) => libc.pread(fd, buffer, BigInt(count), BigInt(offset)),
    pwrite: (fd, buffer, count, offset) => libc.pwrite(fd, buffer, BigInt(count), BigInt(offset)),
    mmap: (addr, length, prot, flags, fd, offset) =>
      libc.mmap(BigInt(addr), BigInt(length), prot, flags, fd, BigInt(offset)),
    munmap: (addr, length) => libc.munmap(addr, BigInt(length)),
    poll: (fds, count, timeout) => libc.poll(fds, BigInt(count), timeout),
    readlink: (path, buffer, size) => libc.readlink(path, buffer, BigInt(size)),
    getdents64: (fd, buffer, count) => libc.getdents64(fd, buffer, BigInt(count)),
    ftruncate: (fd, length) => libc.ftruncate(fd, BigInt(length)),
    syscall: (number, a, b, c) => libc.syscall(BigInt(number), BigInt(a), BigInt(b), BigInt(c)),
    sync_file_range: (fd, offset, length, flags) =>
      libc.sync_file_range(fd, BigInt(offset), BigInt(length), flags),
    accept4: (fd, address, length, flags) =>
      libc.accept4(fd, BigInt(address), BigInt(length), flags),
    send: (fd, buffer, length, flags) => libc.send(fd, buffer, BigInt(length), flags),
    recv: (fd, buffer, length, flags) => libc.recv(fd, buffer, BigInt(length), flags),
    memset: (buffer, byte, count) => libc.memset(buffer, byte, BigInt(count)),
    memcmp: (address, buffer, count) => libc.memcmp(address, buffer, BigInt(count)),
    copy_out: (into, from, count) => libc.copy_out(into, from, BigInt(count)),
    copy_in: (to, from, count) => libc.copy_in(to, from, BigInt(count)),
  };
}

/**
 * Loads libc. It is never closed, because calling into a closed library is not
 * refused.
 *
 * @throws {Deno.errors.NotCapable} Without `--allow-ffi`.
 */
export function loadDeno(paths: readonly string[]): Symbols {
  let failure: unknown;
  for (const path of paths) {
    try {
      return widened(Deno.dlopen(path, TABLE).symbols);
    } catch (error) {
      // A denied permission stays denied: trying the next path would only hide
      // which path to allow.
      if (error instanceof Deno.errors.NotCapable) throw error;
      failure = error;
    }
  }
  throw failure;
}
