/**
 * Signals that interrupt a thread of this process in a system call.
 *
 * @module
 */

import process from "node:process";
import { libc } from "../libc/calls_with_errno.ts";
import { libcPaths } from "../libc/symbols.ts";

/** A real-time signal that no runtime uses, and that `blockSignals` leaves alone. */
const SIGNAL = 50;

/** gettid and tgkill (asm/unistd.h; arm64 and riscv64 have the generic numbers). */
const [SYS_GETTID, SYS_TGKILL] = process.arch === "x64" ? [186, 234] : [178, 131];

/** struct sigaction of glibc and musl: handler, mask, flags, restorer. */
const SIGACTION_BYTES = 152;

type Bytes = Uint8Array<ArrayBuffer>;

/** Functions that are not part of the toolkit's libc: glibc has dlsym in libc since 2.34 only. */
interface SignalCalls {
  dlsym(name: Bytes): bigint;
  sigaction(signal: number, act: Bytes): number;
}

interface BunFfi {
  dlopen(path: string, table: object): {
    readonly symbols: Readonly<Record<string, (...args: unknown[]) => number | bigint>>;
  };
}

/**
 * Lets this thread's system calls be interrupted by {@linkcode interruptThread}: they then fail
 * with EINTR. The handler is libc's abs(), which touches nothing, without SA_RESTART. It stays
 * installed, as a signal that comes late would end the process.
 *
 * @returns The thread's id for {@linkcode interruptThread}; null if libc has no dlsym.
 */
export function interruptibleThread(): number | null {
  const calls = load();
  if (calls === null) return null;
  const handler = calls.dlsym(new TextEncoder().encode("abs\0"));
  if (handler === 0n) return null;
  const act = new Uint8Array(new ArrayBuffer(SIGACTION_BYTES));
  new DataView(act.buffer).setBigUint64(0, handler, true);
  if (calls.sigaction(SIGNAL, act) !== 0) return null;
  return libc().syscall(SYS_GETTID, 0, 0, 0);
}

/** Sends the signal to a thread of this process that {@linkcode interruptibleThread} prepared. */
export function interruptThread(thread: number): void {
  libc().syscall(SYS_TGKILL, process.pid, thread, SIGNAL);
}

function load(): SignalCalls | null {
  for (const path of libcPaths(process.arch)) {
    try {
      return "Deno" in globalThis ? loadInDeno(path) : loadInBun(path);
    } catch {
      // Another path, or none has it.
    }
  }
  return null;
}

function loadInDeno(path: string): SignalCalls {
  const { symbols } = Deno.dlopen(path, {
    dlsym: { parameters: ["usize", "buffer"], result: "usize" },
    sigaction: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  });
  return {
    dlsym: (name) => symbols.dlsym(0n, name),
    sigaction: (signal, act) => symbols.sigaction(signal, act, 0n),
  };
}

function loadInBun(path: string): SignalCalls {
  const ffi = process.getBuiltinModule("bun:ffi") as unknown as BunFfi;
  const { symbols } = ffi.dlopen(path, {
    dlsym: { args: ["usize", "ptr"], returns: "u64" },
    sigaction: { args: ["i32", "ptr", "usize"], returns: "i32" },
  });
  return {
    dlsym: (name) => BigInt(symbols["dlsym"]!(0, name)),
    sigaction: (signal, act) => Number(symbols["sigaction"]!(signal, act, 0)),
  };
}
