/** eventfd(2), which the library has no use for. */

import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

const LIBC = "libc.so.6";

async function load(): Promise<(count: number, flags: number) => number> {
  if ("Deno" in globalThis) {
    const table = { eventfd: { parameters: ["u32", "i32"], result: "i32" } } as const;
    return Deno.dlopen(LIBC, table).symbols.eventfd;
  }
  const { dlopen } = await import("bun:ffi");
  const { symbols } = dlopen(LIBC, { eventfd: { args: ["u32", "i32"], returns: "i32" } });
  return symbols.eventfd as unknown as (count: number, flags: number) => number;
}

const eventfd = await load();

/** A new eventfd. */
export function openEventfd(): number {
  return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/** How often it was signalled since it was read last; the fd must have been signalled. */
export function readEventfd(fd: number): number {
  const count = new Uint8Array(8);
  libcKernel().read(fd, count);
  return Number(new DataView(count.buffer).getBigUint64(0, true));
}
