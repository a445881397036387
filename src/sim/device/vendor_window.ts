/**
 * Region 0 of a simulated device: a read-only window that shows the device's
 * internal state, so that a test or a demo can compare devices.
 */

import { VFIO_REGION_INFO_FLAG_READ } from "../../uapi/mod.ts";
import { struct } from "../../uapi/codec.ts";
import type { StructCodec } from "../../uapi/struct_types.ts";
import { refuse } from "../os/refusal.ts";
import type { Bytes } from "../os/bytes.ts";
import type { DeviceRegion } from "../driver/region.ts";

/** The fields of the window, in this order and little endian. */
export interface VendorWindowFields {
  /** `VKIT`. */
  magic: number;
  /** 1. */
  version: number;
  /** Protocol violations since the device was opened. */
  violations: number;
  /** Bit 0: the state differs from what the seed generates. */
  flags: number;
  /** Size of the device state in bytes. */
  state_size: bigint;
  /** CRC-32 of the whole state, computed on read. */
  crc32: number;
  /** The device_state register. */
  device_state: number;
  /** Pages that the device changed by itself since it was opened. */
  dirtied_pages: bigint;
}

const LAYOUT: StructCodec<VendorWindowFields> = struct("vkit_window", {
  magic: "u32",
  version: "u32",
  violations: "u32",
  flags: "u32",
  state_size: "u64",
  crc32: "u32",
  device_state: "u32",
  dirtied_pages: "u64",
});

const SIZE = 4096;
const MAGIC = 0x54494b56;
const CRC_AT: number = LAYOUT.offsetOf("crc32");

/** The window. Its content is computed when it is read. */
export class VendorWindow implements DeviceRegion {
  readonly size = SIZE;
  readonly flags: number = VFIO_REGION_INFO_FLAG_READ;
  readonly #fields: () => Omit<VendorWindowFields, "magic" | "version" | "crc32">;
  readonly #crc32: () => number;

  constructor(
    fields: () => Omit<VendorWindowFields, "magic" | "version" | "crc32">,
    crc32: () => number,
  ) {
    this.#fields = fields;
    this.#crc32 = crc32;
  }

  pread(at: number, into: Bytes): number {
    if (at >= SIZE) refuse("EINVAL");
    const length = Math.min(into.length, SIZE - at);
    // The checksum takes time, so it is computed only if it is read.
    const wanted = at < CRC_AT + 4 && at + length > CRC_AT;
    const bytes = new Uint8Array(SIZE);
    LAYOUT.pack({
      ...this.#fields(),
      magic: MAGIC,
      version: 1,
      crc32: wanted ? this.#crc32() : 0,
    }, bytes);
    into.set(bytes.subarray(at, at + length));
    return length;
  }

  pwrite(): number {
    return refuse("EINVAL");
  }
}
