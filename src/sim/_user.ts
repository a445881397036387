/**
 * A caller's memory behind an ioctl's argument, as the kernel reaches it:
 * what does not lie in the buffer is EFAULT.
 */

import type { StructCodec } from "../uapi/codec.ts";
import { refuse } from "./_refusal.ts";
import type { Bytes } from "./_region.ts";

/** An ioctl's argument: memory, or a number that stands for itself. */
export type Argument = Bytes | number;

/** The number; an address of JS memory is no number that could mean anything. */
export function numberOf(arg: Argument): number {
  return typeof arg === "number" ? arg : -1;
}

function memory(arg: Argument, end: number): Bytes {
  if (typeof arg === "number" || arg.length < end) return refuse("EFAULT");
  return arg;
}

/**
 * The first `length` bytes of a struct (default all of it); fields behind are 0,
 * a tail is left out, and argsz may say anything.
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
 * A struct that says first how large it is, as iommufd's do (copy_struct_from_user):
 * EINVAL where it is shorter than all kernels' is, E2BIG where what is behind it
 * is not zero.
 */
export function sizedFromUser<T extends { size: number }>(codec: StructCodec<T>, arg: Argument): T {
  const bytes = memory(arg, 4);
  const size = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  if (size < codec.size) refuse("EINVAL");
  if (memory(arg, size).subarray(codec.size, size).some((byte) => byte !== 0)) refuse("E2BIG");
  return codec.unpack(bytes);
}

/** The struct that lies at an offset of the argument. */
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

/** Writes bytes at an offset of the argument. */
export function bytesToUser(arg: Argument, at: number, bytes: Uint8Array): void {
  memory(arg, at + bytes.length).set(bytes, at);
}

/** The string at the argument, up to its NUL. */
export function stringFromUser(arg: Argument): string {
  const bytes = memory(arg, 1);
  const end = bytes.indexOf(0);
  // Without a NUL the kernel reads on, into memory that is not the caller's.
  return end < 0 ? refuse("EFAULT") : new TextDecoder().decode(bytes.subarray(0, end));
}

/** The int at the argument. */
export function intFromUser(arg: Argument): number {
  const bytes = memory(arg, 4);
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getInt32(0, true);
}
