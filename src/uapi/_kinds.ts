// How one value is stored in memory: scalars, arrays, nested structs.

import type { ArrayType, NumberType, StructCodec, TailType } from "./struct_types.ts";

/** The field types that a table may use. */
export type AnyFieldType =
  | NumberType
  | "argsz"
  | "u64"
  | StructCodec<object>
  | ArrayType<AnyElement>
  | TailType<AnyElement>;
type AnyElement = NumberType | "u64" | StructCodec<object>;

/** The layout of one value. `what` is `struct.field`, for error messages. */
export interface Kind {
  readonly type: string;
  readonly size: number;
  readonly align: number;
  read(view: DataView, at: number): unknown;
  write(view: DataView, at: number, value: unknown, what: string): void;
}

/** Several values of the same kind, one after the other. */
export interface Row {
  readonly element: Kind;
  /** The number of elements in `values`; throws a TypeError if `values` is of another type. */
  lengthOf(values: unknown, what: string): number;
  read(view: DataView, at: number, count: number): unknown;
  write(view: DataView, at: number, values: unknown, what: string): void;
}

/** Whether a field is a flexible array. */
export function isTail(type: AnyFieldType): type is TailType<AnyElement> {
  return typeof type === "object" && "lengthField" in type;
}

/** The memory layout of a field that isn't a tail. */
export function kindOf(type: Exclude<AnyFieldType, TailType<AnyElement>>): Kind {
  if (typeof type === "string") return SCALARS[type === "argsz" ? "u32" : type];
  return "count" in type ? arrayKind(rowOf(type.element), type.count) : structKind(type);
}

/** The memory layout of the elements of an array or a tail. */
export function rowOf(element: AnyElement): Row {
  return element === "u8" ? BYTES : rowOfKind(kindOf(element));
}

const SCALARS: Readonly<Record<NumberType | "u64", Kind>> = {
  u8: numberKind("u8", {
    min: 0,
    max: 0xff,
    read: (view, at) => view.getUint8(at),
    write: (view, at, value) => view.setUint8(at, value),
  }),
  u16: numberKind("u16", {
    min: 0,
    max: 0xffff,
    read: (view, at) => view.getUint16(at, true),
    write: (view, at, value) => view.setUint16(at, value, true),
  }),
  u32: numberKind("u32", {
    min: 0,
    max: 0xffff_ffff,
    read: (view, at) => view.getUint32(at, true),
    write: (view, at, value) => view.setUint32(at, value, true),
  }),
  s32: numberKind("s32", {
    min: -0x8000_0000,
    max: 0x7fff_ffff,
    read: (view, at) => view.getInt32(at, true),
    write: (view, at, value) => view.setInt32(at, value, true),
  }),
  u64: {
    type: "u64",
    size: 8,
    align: 8,
    read: (view, at) => view.getBigUint64(at, true),
    write(view, at, value, what): void {
      if (typeof value !== "bigint") throw wrongType(what, "a u64 is a bigint", value);
      if (value < 0n || value > 0xffff_ffff_ffff_ffffn) {
        throw new RangeError(`Cannot pack ${what}: ${value} is not a u64`);
      }
      view.setBigUint64(at, value, true);
    },
  },
};

/** The range of a kind of number, and how it is read and written. */
interface NumberAccess {
  readonly min: number;
  readonly max: number;
  readonly read: (view: DataView, at: number) => number;
  readonly write: (view: DataView, at: number, value: number) => void;
}

function numberKind(type: NumberType, { min, max, read, write }: NumberAccess): Kind {
  const size = Number(type.slice(1)) / 8;
  return {
    type,
    size,
    align: size,
    read,
    write(view, at, value, what): void {
      if (typeof value !== "number") throw wrongType(what, `a ${type} is a number`, value);
      if (!Number.isInteger(value) || value < min || value > max) {
        throw new RangeError(`Cannot pack ${what}: ${value} is not a ${type}`);
      }
      write(view, at, value);
    },
  };
}

function structKind(codec: StructCodec<object>): Kind {
  if (codec.fields.at(-1)?.size === 0) {
    throw new TypeError(`Cannot nest struct ${codec.name}: it ends in a flexible array`);
  }
  return {
    type: `struct ${codec.name}`,
    size: codec.size,
    align: codec.align,
    read: (view, at) => codec.unpack(bytesOf(view), at),
    write(view, at, value, what): void {
      if (typeof value !== "object" || value === null) {
        throw wrongType(what, `a struct ${codec.name} is an object`, value);
      }
      codec.pack(value, bytesOf(view), at);
    },
  };
}

function arrayKind(row: Row, count: number): Kind {
  return {
    type: `${row.element.type}[${count}]`,
    size: row.element.size * count,
    align: row.element.align,
    read: (view, at) => row.read(view, at, count),
    write(view, at, values, what): void {
      const length = row.lengthOf(values, what);
      if (length !== count) {
        throw new RangeError(`Cannot pack ${what}: ${length} elements, ${count} needed`);
      }
      row.write(view, at, values, what);
    },
  };
}

const BYTES: Row = {
  element: SCALARS.u8,
  lengthOf(values, what): number {
    if (!(values instanceof Uint8Array)) {
      throw wrongType(what, "an array of u8 is a Uint8Array", values);
    }
    return values.length;
  },
  read: (view, at, count) => bytesOf(view).slice(at, at + count),
  write: (view, at, values) => bytesOf(view).set(values as Uint8Array, at),
};

function rowOfKind(element: Kind): Row {
  return {
    element,
    lengthOf(values, what): number {
      if (!Array.isArray(values)) {
        throw wrongType(what, `an array of ${element.type} is an array`, values);
      }
      return values.length;
    },
    read: (view, at, count) =>
      Array.from({ length: count }, (_, i) => element.read(view, at + i * element.size)),
    write(view, at, values, what): void {
      for (const [i, value] of (values as unknown[]).entries()) {
        element.write(view, at + i * element.size, value, `${what}[${i}]`);
      }
    },
  };
}

function bytesOf(view: DataView): Uint8Array<ArrayBuffer> {
  return new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength);
}

function wrongType(what: string, rule: string, value: unknown): TypeError {
  return new TypeError(
    `Cannot pack ${what}: ${rule}, not ${value === null ? "null" : typeof value}`,
  );
}
