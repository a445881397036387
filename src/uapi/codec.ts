/**
 * C struct layouts as tables.
 *
 * A table of fields gives size, alignment and offsets as a C compiler lays
 * them out on x86-64 (and every other little-endian 64-bit Linux): each field
 * on its natural alignment, the size rounded up to the largest one. Padding is
 * not a field: it is written as zero and never read.
 *
 * @module
 */

import type { AnyFieldType } from "./_kinds.ts";
import { Struct } from "./_struct.ts";
import type { ArrayType, FieldTable, StructCodec, TailType } from "./struct_types.ts";

/**
 * A fixed array field: `element x[count]`.
 *
 * @throws {RangeError} `count` isn't a positive integer
 *
 * @example
 * ```ts
 * import { array, struct } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const token = struct<{ uuid: Uint8Array }>("token", { uuid: array("u8", 16) });
 * assert.equal(token.size, 16);
 * ```
 */
export function array<const Element>(element: Element, count: number): ArrayType<Element> {
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new RangeError(`Cannot declare an array: ${count} is not a positive integer`);
  }
  return { element, count };
}

/**
 * A flexible array at the end of a struct: `element x[]`.
 *
 * `lengthField` names the field that gives its length: the number of elements,
 * or, if that field is of type `"argsz"`, the size of the whole struct in bytes.
 *
 * @example
 * ```ts
 * import { struct, tail } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const feature = struct<{ argsz: number; data: Uint8Array }>("feature", {
 *   argsz: "argsz",
 *   data: tail("u8", "argsz"),
 * });
 * const bytes = feature.pack({ data: new Uint8Array([7, 8]) });
 * assert.deepEqual([...bytes], [6, 0, 0, 0, 7, 8]);
 * assert.deepEqual([...feature.unpack(bytes).data], [7, 8]);
 * ```
 */
export function tail<const Element>(element: Element, lengthField: string): TailType<Element> {
  return { element, lengthField };
}

/**
 * The codec of a C struct.
 *
 * @typeParam T the struct as an object: u8, u16, u32, s32 are numbers, u64 and
 * pointers bigints, structs objects, arrays of u8 `Uint8Array`s, other arrays arrays
 * @param name the C name, without `struct`
 * @param table the fields, in the order of the C declaration
 * @throws {TypeError} the table can't be laid out: a tail that isn't last, whose
 * length field doesn't precede it, or (with `"argsz"`) that overlaps padding; a
 * nested struct with a tail
 *
 * @example
 * ```ts
 * import { struct } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const s = struct<{ id: number; size: bigint }>("s", { id: "u32", size: "u64" });
 * assert.equal(s.size, 16);
 * assert.equal(s.offsetOf("size"), 8);
 *
 * const bytes = s.pack({ id: 1, size: 4096n });
 * assert.deepEqual(s.unpack(bytes), { id: 1, size: 4096n });
 * assert.throws(() => s.pack({ id: -1 }), { message: "Cannot pack s.id: -1 is not a u32" });
 * ```
 */
export function struct<T extends object>(
  name: string,
  table: FieldTable<NoInfer<T>>,
): StructCodec<T> {
  return new Struct<T>(name, Object.entries(table) as [string, AnyFieldType][]);
}
