/**
 * The registers of struct vfio_device_migration_info, each accessible at its own
 * offset and width only.
 */

import type { Bytes } from "../os/bytes.ts";

/** The registers, named as the struct's fields. */
export type RegisterName =
  | "device_state"
  | "reserved"
  | "pending_bytes"
  | "data_offset"
  | "data_size";

/** Bytes of struct vfio_device_migration_info. */
export const REGISTERS_SIZE = 32;

/** The register that an access of this offset and width matches; null if there is none. */
export function registerAt(at: number, width: number): RegisterName | null {
  if (width === 4) return at === 0 ? "device_state" : at === 4 ? "reserved" : null;
  if (width !== 8) return null;
  return at === 8 ? "pending_bytes" : at === 16 ? "data_offset" : at === 24 ? "data_size" : null;
}

/** Writes a register's value, little endian; a number above 2^53 must be exactly representable. */
export function putRegister(into: Bytes, value: number | bigint): void {
  if (typeof value === "bigint") {
    for (let i = 0; i < into.length; i += 1, value >>= 8n) into[i] = Number(value & 0xffn);
    return;
  }
  let word = value % 2 ** 32;
  for (let i = 0; i < 4; i += 1, word = Math.floor(word / 256)) into[i] = word;
  if (into.length === 4) return;
  word = Math.floor(value / 2 ** 32);
  for (let i = 4; i < 8; i += 1, word = Math.floor(word / 256)) into[i] = word;
}

/** A register's value. Above 2^53 it is rounded, but still larger than any valid size. */
export function getRegister(from: Bytes): number {
  let value = 0;
  for (let i = from.length - 1; i >= 0; i -= 1) value = value * 256 + from[i]!;
  return value;
}
