/**
 * Capability chains: what VFIO appends to its info structs.
 *
 * @module
 */

import { type StructCodec, vfioInfoCapHeader } from "../../uapi/mod.ts";
import { AnswerError } from "./answer_error.ts";
import { registerErrorClass } from "../../base/error_transfer.ts";

/** One capability of a chain (struct vfio_info_cap_header and what follows it). */
export interface Capability {
  /** Its id; regions, devices and containers each have their own ids. */
  readonly id: number;
  /** The version of its layout. */
  readonly version: number;
  /** Where it starts in the info struct, in bytes. */
  readonly offset: number;
  /** Its bytes with the header, up to the capability behind it or the end of the struct. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** How a chain can be broken. */
export type CapabilityDefect =
  /** It leads back to a capability that was already visited. */
  | "loop"
  /** It leads beyond the struct. */
  | "outside"
  /** It leads to an offset that is not a multiple of 4. */
  | "odd-offset"
  /** It leads into the fixed part of the info struct. */
  | "inside-struct"
  /** It leads into another capability's header. */
  | "overlap"
  /** A capability is shorter than its contents say. */
  | "truncated"
  /** A capability's contents contradict the rest. */
  | "contents";

/**
 * A broken capability chain: which capability is wrong, and how.
 *
 * @example
 * ```ts
 * import { CapabilityError } from "vfiokit/vfio";
 * import assert from "node:assert/strict";
 *
 * const error = new CapabilityError("The chain of region 9 is broken", "loop", 48);
 * assert.deepEqual([error.code, error.defect, error.offset], ["broken-answer", "loop", 48]);
 * ```
 */
export class CapabilityError extends AnswerError {
  static {
    registerErrorClass(this);
  }

  /** Always `CapabilityError`. */
  override readonly name = "CapabilityError";
  /** What is wrong. */
  readonly defect: CapabilityDefect;
  /** The offset of the capability that is wrong, or that the chain leads to. */
  readonly offset: number;

  /** Makes the error; `field` is the one that is wrong, by its C name. */
  constructor(
    message: string,
    defect: CapabilityDefect,
    offset: number,
    field: string = "vfio_info_cap_header.next",
  ) {
    super(message, field);
    this.defect = defect;
    this.offset = offset;
  }
}

/**
 * Walks a capability chain. Ids are not checked: the caller skips unknown ones. Capabilities need
 * not be aligned to 8 (the container's on Linux 6.1 are not), nor be in ascending order.
 *
 * @param info The info struct with all that follows it.
 * @param capOffset Its `cap_offset`; 0 if there are none.
 * @param what Whose chain it is, for messages: `region 9`.
 * @param fixedSize Bytes of the struct itself, where no capability can be.
 * @returns The capabilities in the chain's order.
 * @throws {CapabilityError} If the chain loops, or leads somewhere it cannot.
 *
 * @example
 * ```ts
 * import { walkCapabilities } from "./capability_chain.ts";
 * import assert from "node:assert/strict";
 *
 * const info = new Uint8Array(48);
 * info.set([2, 0, 1, 0, 32], 32); // id 2, version 1, next 32: itself
 * assert.throws(() => walkCapabilities(info, 32, "region 9", 32), /leads back/);
 * ```
 */
export function walkCapabilities(
  info: Uint8Array<ArrayBuffer>,
  capOffset: number,
  what: string,
  fixedSize: number,
): Capability[] {
  const headers = new Map<number, { readonly id: number; readonly version: number }>();
  let from = "the info struct";
  for (let offset = capOffset; offset !== 0;) {
    const defect = placeDefect(info, offset, fixedSize) ?? (headers.has(offset) ? "loop" : null);
    if (defect !== null) {
      throw new CapabilityError(
        `Cannot use the capabilities of ${what}: ${from} leads ${
          placeText(defect, offset, info.length)
        }`,
        defect,
        offset,
      );
    }
    const { id, version, next } = vfioInfoCapHeader.unpack(info, offset);
    headers.set(offset, { id, version });
    from = `capability ${id} at offset ${offset}`;
    offset = next;
  }
  return sliceCapabilities(info, headers, what);
}

/** Why no capability can start at an offset; null if one can. */
function placeDefect(
  info: Uint8Array,
  offset: number,
  fixedSize: number,
): CapabilityDefect | null {
  if (offset % 4 !== 0) return "odd-offset";
  if (offset < fixedSize) return "inside-struct";
  if (offset >= info.length) return "outside";
  if (offset + vfioInfoCapHeader.size > info.length) return "truncated";
  return null;
}

function placeText(defect: CapabilityDefect, offset: number, length: number): string {
  switch (defect) {
    case "loop":
      return `back to offset ${offset}`;
    case "odd-offset":
      return `to offset ${offset}, which is not a multiple of 4`;
    case "inside-struct":
      return `to offset ${offset}, inside the info struct itself`;
    case "outside":
      return `to offset ${offset}, outside its ${length} bytes`;
    default:
      return `to offset ${offset}, where its ${length} bytes end within the header (truncated)`;
  }
}

/** Gives each capability the bytes up to the one behind it. */
function sliceCapabilities(
  info: Uint8Array<ArrayBuffer>,
  headers: ReadonlyMap<number, { readonly id: number; readonly version: number }>,
  what: string,
): Capability[] {
  const sorted = [...headers.keys()].sort((a, b) => a - b);
  const ends = new Map(sorted.map((offset, index) => [offset, sorted[index + 1] ?? info.length]));
  return [...headers].map(([offset, { id, version }]) => {
    const bytes = info.subarray(offset, ends.get(offset));
    if (bytes.length < vfioInfoCapHeader.size) {
      throw new CapabilityError(
        `Cannot use the capabilities of ${what}: capability ${id} at offset ${offset} ` +
          `overlaps the one at offset ${offset + bytes.length}`,
        "overlap",
        offset,
      );
    }
    return { id, version, offset, bytes };
  });
}

/**
 * Checks that a capability has the bytes that its layout needs.
 *
 * @param field The C name of the field that asks for so many, where it is one.
 * @throws {CapabilityError} If it is truncated.
 */
export function requireBytes(
  capability: Capability,
  bytes: number,
  what: string,
  field?: string,
): void {
  if (capability.bytes.length >= bytes) return;
  throw new CapabilityError(
    `Cannot use the capabilities of ${what}: capability ${capability.id} at offset ` +
      `${capability.offset} is truncated: ${capability.bytes.length} of ${bytes} bytes`,
    "truncated",
    capability.offset,
    field,
  );
}

/** A struct that ends in an array. */
export interface ArrayLayout<T> {
  /** The struct. */
  readonly codec: StructCodec<T>;
  /** Its u32 that says how many elements follow. */
  readonly count: keyof T & string;
  /** Bytes of one element. */
  readonly elementSize: number;
}

/**
 * Checks that a capability has room for as many elements as it says it has.
 *
 * @throws {CapabilityError} If it is truncated.
 */
export function requireElements<T>(
  capability: Capability,
  { codec, count: countField, elementSize }: ArrayLayout<T>,
  what: string,
): void {
  requireBytes(capability, codec.size, what);
  const { buffer, byteOffset } = capability.bytes;
  const count = new DataView(buffer, byteOffset).getUint32(codec.offsetOf(countField), true);
  const bytes = codec.size + count * elementSize;
  requireBytes(capability, bytes, what, `${codec.name}.${countField}`);
}
