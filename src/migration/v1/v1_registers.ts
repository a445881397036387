/**
 * The registers of struct vfio_device_migration_info, at native width only.
 *
 * A driver may treat any other width as a violation, so each access is one pread or pwrite of the
 * register's size.
 */

import { ERRNO } from "../../kernel/errno_names.ts";
import { SysError } from "../../kernel/sys_error.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { vfioDeviceMigrationInfo as layout } from "../../uapi/mod.ts";

const DEVICE_STATE = layout.offsetOf("device_state");
const PENDING_BYTES = layout.offsetOf("pending_bytes");
const DATA_OFFSET = layout.offsetOf("data_offset");
const DATA_SIZE = layout.offsetOf("data_size");

/** Size of the registers at the start of the region, in bytes. */
export const REGISTERS_SIZE: number = layout.size;

/**
 * The migration region's registers.
 *
 * The 64-bit ones are returned as numbers: a value beyond 2^53 lies outside every region, so its
 * low bits do not matter, and a bigint per register would cost more than the call. Messages have
 * all digits, by {@linkcode V1Registers.digits}.
 */
export class V1Registers {
  readonly #kernel: Kernel;
  readonly #fd: number;
  readonly #base: number;
  readonly #u32 = new Uint8Array(new ArrayBuffer(4));
  readonly #u64 = new Uint8Array(new ArrayBuffer(8));
  readonly #view32 = new DataView(this.#u32.buffer);
  readonly #view64 = new DataView(this.#u64.buffer);
  /** The 64-bit registers as they were read last, in the order of the layout. */
  readonly #read = new Uint8Array(new ArrayBuffer(REGISTERS_SIZE));

  /** `base` is the region's offset in the device fd. */
  constructor(kernel: Kernel, fd: number, base: number) {
    this.#kernel = kernel;
    this.#fd = fd;
    this.#base = base;
  }

  #name(what: string, error: unknown): never {
    if (error instanceof SysError) throw new SysError(error.syscall, error.errno, what);
    throw error;
  }

  #short(call: string, what: string, count: number, width: number): void {
    if (count !== width) {
      throw new SysError(call, ERRNO.EIO, `${what} (${count} of ${width} bytes)`);
    }
  }

  #read64(offset: number, what: string): number {
    try {
      const count = this.#kernel.pread(this.#fd, this.#u64, this.#base + offset);
      if (count !== 8) this.#short("pread", what, count, 8);
    } catch (error) {
      this.#name(what, error);
    }
    this.#read.set(this.#u64, offset);
    return this.#view64.getUint32(4, true) * 0x1_0000_0000 + this.#view64.getUint32(0, true);
  }

  /** The value last read from a register, with all digits. */
  digits(register: "pending_bytes"): string {
    return String(layout.unpack(this.#read)[register]);
  }

  /** The same in hex: an offset, or a size that goes with it. */
  hex(register: "data_offset" | "data_size"): string {
    return `0x${layout.unpack(this.#read)[register].toString(16)}`;
  }

  /** All 32 bits of device_state. */
  get deviceState(): number {
    try {
      const count = this.#kernel.pread(this.#fd, this.#u32, this.#base + DEVICE_STATE);
      this.#short("pread", "device_state", count, 4);
    } catch (error) {
      this.#name("device_state", error);
    }
    return this.#view32.getUint32(0, true);
  }

  set deviceState(value: number) {
    this.#view32.setUint32(0, value, true);
    try {
      const count = this.#kernel.pwrite(this.#fd, this.#u32, this.#base + DEVICE_STATE, "once");
      this.#short("pwrite", "device_state", count, 4);
    } catch (error) {
      this.#name("device_state", error);
    }
  }

  /** Bytes that the driver still has; reading it opens an iteration. */
  get pendingBytes(): number {
    return this.#read64(PENDING_BYTES, "pending_bytes");
  }

  /** The offset of this iteration's data in the region; may block until the data is there. */
  get dataOffset(): number {
    return this.#read64(DATA_OFFSET, "data_offset");
  }

  /** Bytes of this iteration's data. */
  get dataSize(): number {
    return this.#read64(DATA_SIZE, "data_size");
  }

  /** Reports to the driver how many bytes were written at data_offset. */
  set dataSize(value: number) {
    this.#view64.setBigUint64(0, BigInt(value), true);
    try {
      const count = this.#kernel.pwrite(this.#fd, this.#u64, this.#base + DATA_SIZE, "once");
      this.#short("pwrite", "data_size", count, 8);
    } catch (error) {
      this.#name("data_size", error);
    }
  }
}
