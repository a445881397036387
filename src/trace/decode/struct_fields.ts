// A struct's bytes as named fields that JSON can hold.

import type { StructCodec } from "../../uapi/mod.ts";
import type { TraceFields, TraceValue } from "../event.ts";
import { flagNames, hex } from "./names.ts";

/** Fields whose value is an address, or a set of page sizes: in hexadecimal. */
const HEX = new Set([
  "iova",
  "vaddr",
  "offset",
  "bitmap",
  "ranges",
  "data",
  "user_va",
  "iova_pgsizes",
  "pgsize_bitmap",
  "allowed_iovas",
  "token_uuid_ptr",
  "start",
  "end",
  "last",
]);

/** A struct in the argument of a request, and the prefix of the names of its flags. */
export interface StructLayout {
  readonly codec: StructCodec<object>;
  /** Flags by field; a struct's `flags` without a prefix are a number. */
  readonly flags: string | null;
}

/** The fields of a struct at the start of `bytes`; null if there are too few bytes. */
export function structFields(
  { codec, flags }: StructLayout,
  bytes: Uint8Array,
): TraceFields | null {
  let struct: object;
  try {
    struct = codec.unpack(bytes);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return null;
  }
  const fields: Record<string, TraceValue> = {};
  for (const [name, value] of Object.entries(struct)) {
    if (value instanceof Uint8Array) continue;
    fields[name] = name === "flags" && flags !== null
      ? flagNames(flags, value as bigint | number)
      : plain(name, value);
  }
  return fields;
}

function plain(name: string, value: unknown): TraceValue {
  if (typeof value === "bigint") {
    if (HEX.has(name)) return hex(value);
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value);
  }
  if (typeof value === "number") return value;
  if (Array.isArray(value)) return value.map((each) => plain(name, each));
  return Object.fromEntries(
    Object.entries(value as object).map(([key, each]) => [key, plain(key, each)]),
  );
}

/** What of `after` is not as it was; null if nothing is. */
export function changedFields(before: TraceFields, after: TraceFields): TraceFields | null {
  const changed = Object.entries(after).filter(([name, value]) =>
    JSON.stringify(before[name]) !== JSON.stringify(value)
  );
  return changed.length === 0 ? null : Object.fromEntries(changed);
}
