/**
 * C struct layouts as tables.
 *
 * A table of fields gives size, alignment and offsets as a C compiler lays
 * them out on x86-64 (and every other little-endian 64-bit Linux): each field
 * on its natural alignment, the size rounded up to the largest one. Padding is
 * no field: it is written as zero and never read.
 *
 * @module
 */

import { type AnyFieldType, isTail, type Kind, kindOf, type Row, rowOf } from "./_kinds.ts";

/** The integers that come as a `number`. */
export type NumberType = "u8" | "u16" | "u32" | "s32";

/** What an array or a tail may consist of, for values of type `E`. */
export type ElementType<E> = [E] extends [bigint] ? "u64"
  : [E] extends [number] ? NumberType
  : StructCodec<E>;

/** A fixed array: `u32 x[4]`. Made by {@linkcode array}. */
export interface ArrayType<Element> {
  /** What it consists of. */
  readonly element: Element;
  /** How many of them. */
  readonly count: number;
}

/** A flexible array at the end of a struct: `u8 data[]`. Made by {@linkcode tail}. */
export interface TailType<Element> {
  /** What it consists of. */
  readonly element: Element;
  /** The field that says how long it is. */
  readonly lengthField: string;
}

/**
 * How a field whose value is a `V` may be declared.
 *
 * `"argsz"` is a u32 that becomes the size of the whole struct, tail included,
 * where the caller leaves it out. Arrays of `"u8"` are `Uint8Array`s.
 */
export type FieldType<V> = [V] extends [bigint] ? "u64"
  : [V] extends [number] ? NumberType | "argsz"
  : [V] extends [Uint8Array] ? ArrayType<"u8"> | TailType<"u8">
  : [V] extends [readonly (infer E)[]] ? ArrayType<ElementType<E>> | TailType<ElementType<E>>
  : StructCodec<V>;

/** A struct's fields, in the order of the C declaration. */
export type FieldTable<T> = { readonly [K in keyof T]-?: FieldType<T[K]> };

/** Where a field lies. */
export interface Field {
  /** Its C name. */
  readonly name: string;
  /** Bytes from the start of the struct. */
  readonly offset: number;
  /** Its bytes; 0 for a tail. */
  readonly size: number;
  /** Such as `u32`, `u64[3]`, `u8[]`, `struct vfio_bitmap`. */
  readonly type: string;
}

/** Turns a struct into bytes and back. Made by {@linkcode struct}. */
export interface StructCodec<T> {
  /** The C name, without `struct`. */
  readonly name: string;
  /** `sizeof`, in bytes; a tail is not part of it. */
  readonly size: number;
  /** `_Alignof`, in bytes. */
  readonly align: number;
  /** The fields, in order. */
  readonly fields: readonly Field[];
  /**
   * `offsetof`, in bytes.
   *
   * @throws {TypeError} there is no such field
   */
  offsetOf(field: keyof T & string): number;
  /**
   * The struct as bytes. Fields left out are zero, as in a C initialiser; but a
   * field of type `"argsz"` is then the number of bytes, and a tail's length
   * field the number of its elements.
   *
   * @param value the fields
   * @param into where to write; a fresh buffer if left out
   * @param at where in `into` to begin, in bytes
   * @returns the bytes that were written: a view of `into`, or the fresh buffer
   * @throws {RangeError} a value doesn't fit its field, or the struct doesn't
   * fit `into`. When a value is refused, `into` is partly written
   * @throws {TypeError} a value isn't of its field's type
   */
  pack(value: Partial<T>, into?: Uint8Array<ArrayBuffer>, at?: number): Uint8Array<ArrayBuffer>;
  /**
   * The struct that lies in `bytes`, on any offset, aligned or not. Everything
   * in it is a copy.
   *
   * @param bytes what to read
   * @param at where in `bytes` it begins
   * @throws {RangeError} `bytes` is too short for the struct or for its tail
   */
  unpack(bytes: Uint8Array, at?: number): T;
}

/**
 * A fixed array field: `element x[count]`.
 *
 * @throws {RangeError} `count` isn't a positive integer
 *
 * @example
 * ```ts
 * import { array, struct } from "./codec.ts";
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
 * `lengthField` names the field that says how long it is: in elements, or, if
 * that field is of type `"argsz"`, by the size of the whole.
 *
 * @example
 * ```ts
 * import { struct, tail } from "./codec.ts";
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
 * import { struct } from "./codec.ts";
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

interface Member {
  readonly name: string;
  readonly offset: number;
  readonly kind: Kind;
  /** `struct.field`, for errors. */
  readonly what: string;
}

interface Tail {
  readonly name: string;
  readonly offset: number;
  readonly row: Row;
  readonly what: string;
  readonly lengthField: string;
  /** Whether the length field holds the size of the whole, not a number of elements. */
  readonly bySize: boolean;
}

class Struct<T extends object> implements StructCodec<T> {
  readonly name: string;
  readonly size: number;
  readonly align: number;
  readonly fields: readonly Field[];
  readonly #members: readonly Member[];
  readonly #argsz: string | undefined;
  readonly #tail: Tail | undefined;

  constructor(name: string, entries: readonly [string, AnyFieldType][]) {
    const fields: Field[] = [];
    const members: Member[] = [];
    let end = 0;
    let align = 1;
    for (const [field, type] of entries) {
      const what = `${name}.${field}`;
      if (this.#tail !== undefined) {
        throw new TypeError(`Cannot lay out ${this.#tail.what}: a tail must be the last field`);
      }
      if (isTail(type)) {
        const { lengthField } = type;
        if (!members.some((member) => member.name === lengthField)) {
          throw new TypeError(`Cannot lay out ${what}: no field "${lengthField}" before it`);
        }
        const row = rowOf(type.element);
        const offset = roundUp(end, row.element.align);
        const bySize = lengthField === this.#argsz;
        this.#tail = { name: field, offset, row, what, lengthField, bySize };
        fields.push({ name: field, offset, size: 0, type: `${row.element.type}[]` });
        align = Math.max(align, row.element.align);
        end = offset;
      } else {
        const kind = kindOf(type);
        const offset = roundUp(end, kind.align);
        if (type === "argsz") this.#argsz = field;
        members.push({ name: field, offset, kind, what });
        fields.push({ name: field, offset, size: kind.size, type: kind.type });
        align = Math.max(align, kind.align);
        end = offset + kind.size;
      }
    }
    this.name = name;
    this.align = align;
    this.size = roundUp(end, align);
    this.fields = fields;
    this.#members = members;
    if (this.#tail?.bySize && this.#tail.offset !== this.size) {
      throw new TypeError(`Cannot lay out ${this.#tail.what}: padding lies in its place`);
    }
  }

  offsetOf(field: keyof T & string): number {
    const found = this.fields.find((f) => f.name === field);
    if (found === undefined) throw new TypeError(`No field "${field}" in struct ${this.name}`);
    return found.offset;
  }

  pack(value: Partial<T>, into?: Uint8Array<ArrayBuffer>, at = 0): Uint8Array<ArrayBuffer> {
    const values = value as Readonly<Record<string, unknown>>;
    const tail = this.#tail;
    const elements = tail && values[tail.name];
    const count = elements === undefined ? 0 : tail!.row.lengthOf(elements, tail!.what);
    const length = count === 0
      ? this.size
      : Math.max(this.size, tail!.offset + count * tail!.row.element.size);

    // A view on an explicit ArrayBuffer: Bun may move the bytes of any other.
    const bytes = into ?? new Uint8Array(new ArrayBuffer(at + length));
    checkRoom(`pack ${this.name}`, bytes, at, length);
    if (into !== undefined) bytes.fill(0, at, at + length);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (const { name, offset, kind, what } of this.#members) {
      const v = values[name];
      if (v !== undefined) kind.write(view, at + offset, v, what);
      else if (name === this.#argsz) kind.write(view, at + offset, length, what);
      else if (name === tail?.lengthField) kind.write(view, at + offset, count, what);
    }
    if (count > 0) tail!.row.write(view, at + tail!.offset, elements, tail!.what);
    return bytes.subarray(at, at + length);
  }

  unpack(bytes: Uint8Array, at = 0): T {
    checkRoom(`unpack ${this.name}`, bytes, at, this.size);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const value: Record<string, unknown> = {};
    for (const { name, offset, kind } of this.#members) value[name] = kind.read(view, at + offset);
    if (this.#tail !== undefined) {
      const { name, offset, row, what, lengthField, bySize } = this.#tail;
      const length = value[lengthField] as number;
      if (bySize && length < offset) {
        throw new RangeError(
          `Cannot unpack ${what}: ${lengthField} ${length} is less than ${offset}`,
        );
      }
      const count = bySize ? Math.floor((length - offset) / row.element.size) : length;
      checkRoom(`unpack ${what}`, bytes, at + offset, count * row.element.size);
      value[name] = row.read(view, at + offset, count);
    }
    return value as T;
  }
}

function roundUp(n: number, to: number): number {
  return Math.ceil(n / to) * to;
}

function checkRoom(action: string, bytes: Uint8Array, at: number, length: number): void {
  if (!Number.isSafeInteger(at) || at < 0) {
    throw new RangeError(`Cannot ${action}: offset ${at} is not a position`);
  }
  if (at + length > bytes.byteLength) {
    throw new RangeError(
      `Cannot ${action}: ${length} bytes needed at offset ${at}, the buffer has ${bytes.byteLength}`,
    );
  }
}
