/** Calls as another user: setresuid(2), by its number, changes the calling thread alone. */

import process from "node:process";

/** __NR_setresuid (asm/unistd.h). */
const SETRESUID = ({ x64: 117, arm64: 147 } as Readonly<Record<string, number>>)[process.arch];
const KEEP = -1;
const LIBC = "libc.so.6";

type Syscall = (number: number, real: number, effective: number, saved: number) => number | bigint;

async function load(): Promise<Syscall> {
  if ("Deno" in globalThis) {
    const table = {
      syscall: { parameters: ["i64", "i64", "i64", "i64"], result: "i64" },
    } as const;
    const { syscall } = Deno.dlopen(LIBC, table).symbols;
    return (...words) => syscall(...words.map(BigInt) as [bigint, bigint, bigint, bigint]);
  }
  const { dlopen } = await import("bun:ffi");
  const { symbols } = dlopen(LIBC, {
    syscall: { args: ["i64", "i64", "i64", "i64"], returns: "i64" },
  });
  return symbols.syscall as unknown as Syscall;
}

const syscall = await load();

/** Sets the effective user id of this thread. */
function setEffective(uid: number): void {
  if (Number(syscall(SETRESUID!, KEEP, uid, KEEP)) !== 0) throw new Error(`Cannot be user ${uid}`);
}

/** Why calls cannot be made as one of these users; false if they can. */
export function cannotBe(...uids: readonly number[]): string | false {
  if (SETRESUID === undefined) return `the number of setresuid on ${process.arch} is not known`;
  if (process.geteuid!() !== 0) return "only root can be another user";
  try {
    for (const uid of uids) asUser(uid, () => {});
    return false;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Calls `use` with another effective user id, and without what root may. */
export function asUser<Value>(uid: number, use: () => Value): Value {
  setEffective(uid);
  try {
    return use();
  } finally {
    setEffective(0);
  }
}
