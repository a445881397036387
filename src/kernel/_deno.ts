/** libc's functions through `Deno.dlopen`. */

import type { Symbols } from "./_symbols.ts";

const TABLE = {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  ioctl: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  ioctl_value: { name: "ioctl", parameters: ["i32", "usize", "usize"], result: "i32" },
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
  dup3: { parameters: ["i32", "i32", "i32"], result: "i32" },
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  errno_location: { name: "__errno_location", parameters: [], result: "usize" },
  copy_out: { name: "memmove", parameters: ["buffer", "usize", "usize"], result: "void" },
  copy_in: { name: "memmove", parameters: ["usize", "buffer", "usize"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/**
 * Loads libc. Never closed: a call through a closed library is not refused.
 *
 * @throws {Deno.errors.NotCapable} Without `--allow-ffi`.
 */
export function loadDeno(paths: readonly string[]): Symbols {
  let failure: unknown;
  for (const path of paths) {
    try {
      // The types ask for a bigint where C has 64 bits; the runtime takes a
      // number as well, which costs no allocation.
      return Deno.dlopen(path, TABLE).symbols as unknown as Symbols;
    } catch (error) {
      // A refused permission stays refused: asking for the next path would only
      // hide which one to allow.
      if (error instanceof Deno.errors.NotCapable) throw error;
      failure = error;
    }
  }
  throw failure;
}
