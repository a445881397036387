// Lays out a struct, and packs and unpacks it.

import { type AnyFieldType, isTail, type Kind, kindOf, type Row, rowOf } from "./_kinds.ts";
import type { Field, StructCodec } from "./struct_types.ts";

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
  /** Whether the length field holds the size of the whole struct in bytes, not an element count. */
  readonly bySize: boolean;
}

/** Lays out a table of fields as a C compiler does. */
export class Struct<T extends object> implements StructCodec<T> {
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
      throw new TypeError(`Cannot lay out ${this.#tail.what}: it would overlap padding`);
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
