/**
 * C yardsticks that are called in this very process, on the memory that ours
 * is measured on.
 */

import process from "node:process";
import { compile } from "./_compile.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** `uint32_t f(const uint64_t *words, size_t count)`, given the words' bytes. */
export type Yardstick = (bytes: Bytes) => number;

type Symbols = Readonly<Record<string, (bytes: Bytes, count: number) => number>>;

interface BunFfi {
  dlopen(path: string, table: object): { readonly symbols: Symbols };
}

function load(library: string, names: readonly string[]): Symbols {
  if ("Deno" in globalThis) {
    const symbol = { parameters: ["buffer", "usize"], result: "u32" } as const;
    const table = Object.fromEntries(names.map((name) => [name, symbol]));
    return Deno.dlopen(library, table).symbols as unknown as Symbols;
  }
  const symbol = { args: ["ptr", "usize"], returns: "u32" };
  const ffi = process.getBuiltinModule("bun:ffi") as unknown as BunFfi;
  return ffi.dlopen(library, Object.fromEntries(names.map((name) => [name, symbol]))).symbols;
}

/**
 * Compiles `yardsticks/NAME.c` as a library and loads these functions of it.
 *
 * @throws {NoCompilerError} Where gcc is not installed.
 */
export async function compileLibrary<Name extends string>(
  name: string,
  folder: string,
  names: readonly Name[],
): Promise<Readonly<Record<Name, Yardstick>>> {
  const symbols = load(await compile(name, folder, "-shared", "-fPIC"), names);
  const calls = names.map((
    name,
  ) => [name, (bytes: Bytes) => symbols[name]!(bytes, bytes.length / 8)]);
  return Object.fromEntries(calls) as Record<Name, Yardstick>;
}
