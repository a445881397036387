/**
 * Copies ioctl arguments from and to the caller's memory. Access outside the
 * buffer fails with EFAULT.
 */

import type { StructCodec } from "../../uapi/struct_types.ts";
import { refuse } from "./refusal.ts";
import type { Bytes } from "./bytes.ts";

/** An ioctl's argument: memory, or a plain number. */
export type Argument = Bytes | number;

/** The argument as a number; -1 for memory, whose address would be meaningless. */
export function numberOf(arg: Argument): number {
  return typeof arg === "number" ? arg : -1;
}

function memory(arg: Argument, end: number): Bytes {
  if (typeof arg === "number" || arg.length < end) return refuse("EFAULT");
  return arg;
}

/**
 * Reads the first `length` bytes of a struct (default: all of it). Fields after
 * them are 0, a tail is left out, and argsz may have any value.
 */
export function fromUser<T extends { argsz: number }>(
  codec: StructCodec<T>,
  arg: Argument,
  length = codec.size,
): T {
  const bytes = new Uint8Array(codec.size);
  bytes.set(memory(arg, length).subarray(0, length));
  const view = new DataView(bytes.buffer);
  const argsz = view.getUint32(0, true);
  view.setUint32(0, codec.size, true);
  return { ...codec.unpack(bytes), argsz };
}

/**
 * Reads a struct that begins with its size, as iommufd's do (copy_struct_from_user).
 * Fails with EINVAL if it is shorter than `least`, as in the first kernel that has it, and with
 * E2BIG if the bytes after the known fields are not zero.
 */
export function sizedFromUser<T extends { size: number }>(
  codec: StructCodec<T>,
  arg: Argument,
  least = codec.size,
): T {
  const start = memory(arg, 4);
  const size = new DataView(start.buffer, start.byteOffset, 4).getUint32(0, true);
  if (size < least) refuse("EINVAL");
  const given = memory(arg, size);
  if (given.subarray(codec.size, size).some((byte) => byte !== 0)) refuse("E2BIG");
  const bytes = new Uint8Array(codec.size);
  bytes.set(given.subarray(0, Math.min(size, codec.size)));
  return codec.unpack(bytes);
}

/** Reads the struct at an offset of the argument. */
export function structFromUser<T>(codec: StructCodec<T>, arg: Argument, at: number): T {
  return codec.unpack(memory(arg, at + codec.size), at);
}

/** Writes the first `length` bytes of a struct back. */
export function toUser<T>(
  codec: StructCodec<T>,
  arg: Argument,
  value: T,
  length = codec.size,
): void {
  memory(arg, length).set(codec.pack(value).subarray(0, length));
}

/** Writes bytes to an offset of the argument. */
export function bytesToUser(arg: Argument, at: number, bytes: Uint8Array): void {
  memory(arg, at + bytes.length).set(bytes, at);
}

/** Reads the string at the argument, up to its NUL. */
export function stringFromUser(arg: Argument): string {
  const bytes = memory(arg, 1);
  const end = bytes.indexOf(0);
  // Without a NUL the kernel would read on, beyond the caller's buffer.
  return end < 0 ? refuse("EFAULT") : new TextDecoder().decode(bytes.subarray(0, end));
}

/** Reads the int at the argument. */
export function intFromUser(arg: Argument): number {
  const bytes = memory(arg, 4);
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getInt32(0, true);
}
