/**
 * What a table of a struct's fields says, and the codec made from it.
 *
 * @module
 */

/** The integer types whose values are a `number`. */
export type NumberType = "u8" | "u16" | "u32" | "s32";

/** The element types of an array or a tail whose values are of type `E`. */
export type ElementType<E> = [E] extends [bigint] ? "u64"
  : [E] extends [number] ? NumberType
  : StructCodec<E>;

/** A fixed array: `u32 x[4]`. Made by `array`. */
export interface ArrayType<Element> {
  /** The type of an element. */
  readonly element: Element;
  /** The number of elements. */
  readonly count: number;
}

/** A flexible array at the end of a struct: `u8 data[]`. Made by `tail`. */
export interface TailType<Element> {
  /** The type of an element. */
  readonly element: Element;
  /** The name of the field that gives its length. */
  readonly lengthField: string;
}

/**
 * The types that a field may be declared as if its value is a `V`.
 *
 * `"argsz"` is a u32. If the caller leaves it out, it is set to the size of the
 * whole struct, tail included. Arrays of `"u8"` are `Uint8Array`s.
 */
export type FieldType<V> = [V] extends [bigint] ? "u64"
  : [V] extends [number] ? NumberType | "argsz"
  : [V] extends [Uint8Array] ? ArrayType<"u8"> | TailType<"u8">
  : [V] extends [readonly (infer E)[]] ? ArrayType<ElementType<E>> | TailType<ElementType<E>>
  : StructCodec<V>;

/** A struct's fields, in the order of the C declaration. */
export type FieldTable<T> = { readonly [K in keyof T]-?: FieldType<T[K]> };

/** A field of a struct, and where it lies. */
export interface Field {
  /** Its C name. */
  readonly name: string;
  /** Bytes from the start of the struct. */
  readonly offset: number;
  /** Size in bytes; 0 for a tail. */
  readonly size: number;
  /** The type, such as `u32`, `u64[3]`, `u8[]`, `struct vfio_bitmap`. */
  readonly type: string;
}

/** Turns a struct into bytes and back. Made by `struct`. */
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
   * Packs the struct into bytes. Fields that are left out are zero, as in a C
   * initialiser. There are two exceptions: a field of type `"argsz"` is then set
   * to the number of bytes, and a tail's length field to its number of elements.
   *
   * @param value the fields
   * @param into where to write; a new buffer if left out
   * @param at where in `into` to begin, in bytes
   * @returns the bytes that were written: a view of `into`, or the new buffer
   * @throws {RangeError} a value doesn't fit its field, or the struct doesn't
   * fit into `into`. If a value is refused, `into` may be partly written
   * @throws {TypeError} a value isn't of its field's type
   */
  pack(value: Partial<T>, into?: Uint8Array<ArrayBuffer>, at?: number): Uint8Array<ArrayBuffer>;
  /**
   * Unpacks the struct at any offset of `bytes`, aligned or not. The result
   * shares no memory with `bytes`.
   *
   * @param bytes the bytes to read
   * @param at where in `bytes` the struct begins, in bytes
   * @throws {RangeError} `bytes` is too short for the struct or for its tail
   */
  unpack(bytes: Uint8Array, at?: number): T;
}
