/** libc's functions through `bun:ffi`. */

import process from "node:process";
import type { Symbols } from "./symbols.ts";

const TABLE = {
  open: { args: ["ptr", "i32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  ioctl: { args: ["i32", "usize", "ptr"], returns: "i32" },
  read: { args: ["i32", "ptr", "usize"], returns: "i32" },
  write: { args: ["i32", "ptr", "usize"], returns: "i32" },
  pread: { args: ["i32", "ptr", "usize", "i64"], returns: "i32" },
  pwrite: { args: ["i32", "ptr", "usize", "i64"], returns: "i32" },
  mmap: { args: ["usize", "usize", "i32", "i32", "i32", "i64"], returns: "i64" },
  munmap: { args: ["usize", "usize"], returns: "i32" },
  poll: { args: ["ptr", "usize", "i32"], returns: "i32" },
  readlink: { args: ["ptr", "ptr", "usize"], returns: "i32" },
  realpath: { args: ["ptr", "ptr"], returns: "u64" },
  getdents64: { args: ["i32", "ptr", "usize"], returns: "i32" },
  fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
  dup3: { args: ["i32", "i32", "i32"], returns: "i32" },
  memfd_create: { args: ["ptr", "u32"], returns: "i32" },
  ftruncate: { args: ["i32", "i64"], returns: "i32" },
  sync_file_range: { args: ["i32", "i64", "i64", "u32"], returns: "i32" },
  socketpair: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
  sendmsg: { args: ["i32", "ptr", "i32"], returns: "i32" },
  recvmsg: { args: ["i32", "ptr", "i32"], returns: "i32" },
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  listen: { args: ["i32", "i32"], returns: "i32" },
  accept4: { args: ["i32", "usize", "usize", "i32"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  send: { args: ["i32", "ptr", "usize", "i32"], returns: "i32" },
  recv: { args: ["i32", "ptr", "usize", "i32"], returns: "i32" },
  shutdown: { args: ["i32", "i32"], returns: "i32" },
  sigprocmask: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  syscall: { args: ["i64", "i64", "i64", "i64"], returns: "i32" },
  __errno_location: { args: [], returns: "u64" },
  memset: { args: ["ptr", "i32", "usize"], returns: "u64" },
  memcmp: { args: ["usize", "ptr", "usize"], returns: "i32" },
  memmove: { args: ["ptr", "usize", "usize"], returns: "void" },
};

// A bun:ffi library cannot declare the same C function twice. The second
// signature of ioctl and memmove comes from loading the same libc a second time.
const SECOND = {
  ioctl: { args: ["i32", "usize", "usize"], returns: "i32" },
  memmove: { args: ["usize", "ptr", "usize"], returns: "void" },
};

type Call = (...args: unknown[]) => never;
interface BunFfi {
  dlopen(path: string, table: object): { readonly symbols: Readonly<Record<string, Call>> };
}

/** Loads libc. It is never closed, because calling into a closed library is not refused. */
export function loadBun(paths: readonly string[]): Symbols {
  const ffi = process.getBuiltinModule("bun:ffi") as unknown as BunFfi;
  let failure: unknown;
  for (const path of paths) {
    try {
      const first = ffi.dlopen(path, TABLE).symbols;
      const second = ffi.dlopen(path, SECOND).symbols;
      return {
        ...first,
        ioctl_value: second["ioctl"],
        errno_location: first["__errno_location"],
        copy_out: first["memmove"],
        copy_in: second["memmove"],
      } as unknown as Symbols;
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}
