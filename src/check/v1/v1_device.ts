/**
 * A v1 device at the level of raw calls: reads and writes of its migration region.
 *
 * @module
 */

import type { Kernel } from "../../kernel/kernel.ts";
import {
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_STATE_MASK,
  vfioDeviceMigrationInfo,
} from "../../uapi/mod.ts";
import type { VfioDevice } from "../../vfio/device/device.ts";
import type { Region } from "../../vfio/device/region.ts";
import { type Attempt, attempt } from "../attempt.ts";
import { STATE_MAX, type Steps } from "../v2/v2_device.ts";
import { Finding } from "../verdict.ts";

/** The states: the low three bits of device_state. */
export const STOP = 0;
/** The device runs. */
export const RUNNING = 1;
/** The device is stopped, and its state can be read. */
export const STOP_AND_COPY = 2;
/** The device runs, and its state can be read. */
export const PRE_COPY = 3;
/** The device takes a state. */
export const RESUMING = 4;
/** The device has failed. */
export const ERROR = 6;

const NAMES = ["STOP", "RUNNING", "stop-and-copy", "pre-copy", "RESUMING", "101b", "ERROR", "111b"];

/** A state's name in messages. */
export function v1StateName(state: number): string {
  return NAMES[state & VFIO_DEVICE_STATE_MASK]!;
}

/** Uint8Array<ArrayBuffer> of the registers. */
export const REGISTERS: number = vfioDeviceMigrationInfo.size;

/** A register's place. */
export interface Register {
  /** Its name. */
  readonly name: string;
  /** Offset in the region. */
  readonly offset: number;
  /** Bytes. */
  readonly width: number;
}

/** The registers by name. */
export const REGISTER = {
  device_state: { name: "device_state", offset: 0, width: 4 },
  reserved: { name: "reserved", offset: 4, width: 4 },
  pending_bytes: { name: "pending_bytes", offset: 8, width: 8 },
  data_offset: { name: "data_offset", offset: 16, width: 8 },
  data_size: { name: "data_size", offset: 24, width: 8 },
} as const satisfies Record<string, Register>;

/** One iteration of a save. */
export interface V1Transaction {
  /** data_offset. */
  readonly offset: bigint;
  /** The data. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** Iterations after which a save is given up. */
const ITERATIONS_MAX = 1_000_000;

/** A v1 device, call by call. */
export class V1Device {
  readonly #kernel: Kernel;
  readonly #device: () => VfioDevice;
  readonly #steps: Steps;
  readonly #region: Region;

  /** `device` answers the open device, which a check may close and open again. */
  constructor(kernel: Kernel, device: () => VfioDevice, region: Region, steps: Steps) {
    this.#kernel = kernel;
    this.#device = device;
    this.#region = region;
    this.#steps = steps;
  }

  /** The migration region. */
  get region(): Region {
    return this.#region;
  }

  #at(offset: number): bigint {
    return this.#region.offset + BigInt(offset);
  }

  /** pread of the region; fewer bytes than asked count as an answer. */
  pread(offset: number, bytes: number): Attempt<Uint8Array<ArrayBuffer>> {
    const buffer = new Uint8Array(bytes);
    return attempt(() =>
      buffer.subarray(0, this.#kernel.pread(this.#device().fd.number, buffer, this.#at(offset)))
    );
  }

  /** pwrite to the region. */
  pwrite(offset: number, bytes: Uint8Array<ArrayBuffer>): Attempt<number> {
    return attempt(() =>
      this.#kernel.pwrite(this.#device().fd.number, bytes, this.#at(offset), "once")
    );
  }

  /** Reads a register. */
  read({ offset, width }: Register): Attempt<bigint> {
    const answer = this.pread(offset, width);
    if (answer.errno !== null) return answer;
    if (answer.value.length < width) return { value: null, errno: "a short read" };
    const view = new DataView(answer.value.buffer);
    return {
      value: width === 4 ? BigInt(view.getUint32(0, true)) : view.getBigUint64(0, true),
      errno: null,
    };
  }

  /** Writes a register. */
  write({ offset, width }: Register, value: bigint): Attempt<number> {
    const bytes = new Uint8Array(width);
    const view = new DataView(bytes.buffer);
    if (width === 4) view.setUint32(0, Number(BigInt.asUintN(32, value)), true);
    else view.setBigUint64(0, value, true);
    return this.pwrite(offset, bytes);
  }

  /**
   * Reads a register that must answer.
   *
   * @throws {Finding} `fail` if it does not.
   */
  value(register: Register): bigint {
    const { value, errno } = this.read(register);
    if (value !== null) return value;
    throw new Finding("fail", `${register.name} can be read`, `the read failed with ${errno}`);
  }

  /** device_state, all of its bits. */
  raw(): number {
    return Number(this.value(REGISTER.device_state));
  }

  /** The state: the low three bits of device_state. */
  state(): number {
    return this.raw() & VFIO_DEVICE_STATE_MASK;
  }

  /** Writes a state, and keeps the other bits of device_state. */
  set(target: number): string | null {
    const kept = this.raw() & ~VFIO_DEVICE_STATE_MASK;
    const { errno } = this.write(REGISTER.device_state, BigInt((kept | target) >>> 0));
    this.#steps.step(`device_state = ${v1StateName(target)} → ${errno ?? "success"}`);
    return errno;
  }

  /**
   * Brings the device into a state that the check begins in.
   *
   * @throws {Finding} `unclear` if that fails.
   */
  enter(state: number): void {
    const errno = this.set(state);
    if (errno === null) return;
    throw new Finding(
      "unclear",
      null,
      `the check needs the device in ${v1StateName(state)}, and the write failed with ${errno}`,
    );
  }

  /** VFIO_DEVICE_RESET. */
  reset(): string | null {
    const { errno } = attempt(() =>
      this.#kernel.ioctl(this.#device().fd.number, VFIO_DEVICE_RESET)
    );
    this.#steps.step(`VFIO_DEVICE_RESET → ${errno ?? "success"}`);
    return errno;
  }

  /**
   * Reads the data of one iteration: pending_bytes, data_offset, data_size, the data.
   *
   * @returns null if nothing is pending.
   * @throws {Finding} `fail` if an access fails, or the data lies outside the region.
   */
  iterate(): V1Transaction | null {
    const pending = this.value(REGISTER.pending_bytes);
    return pending === 0n ? null : this.transaction(pending);
  }

  /**
   * The rest of an iteration: data_offset, data_size, the data.
   *
   * @param pending What pending_bytes said.
   * @param place data_offset and data_size, if they were read already.
   * @throws {Finding} As {@linkcode V1Device.iterate}.
   */
  transaction(
    pending: bigint,
    place?: { readonly offset: bigint; readonly size: bigint },
  ): V1Transaction {
    const offset = place?.offset ?? this.value(REGISTER.data_offset);
    const said = place?.size ?? this.value(REGISTER.data_size);
    // Some drivers leave data_size at 0: a transaction is then what is pending and fits.
    const room = this.#region.size - offset;
    const size = said !== 0n ? said : pending < room ? pending : room;
    this.require(offset >= BigInt(REGISTERS), "data_offset is behind the registers", offset);
    this.require(
      offset + size <= this.#region.size,
      `data_offset + data_size is at most ${this.#region.size}`,
      offset + size,
    );
    return { offset, data: this.#data(Number(offset), Number(size)) };
  }

  #data(offset: number, size: number): Uint8Array<ArrayBuffer> {
    const data = new Uint8Array(size);
    for (let at = 0; at < size;) {
      const { value, errno } = this.pread(offset + at, size - at);
      if (value === null || value.length === 0) {
        throw new Finding(
          "fail",
          "the data can be read",
          `pread at ${offset + at} failed with ${errno ?? "0 bytes"}`,
        );
      }
      data.set(value, at);
      at += value.length;
    }
    return data;
  }

  /** Fails unless a register's value is as it must be. */
  require(condition: boolean, expected: string, value: bigint): void {
    if (!condition) throw new Finding("fail", expected, `it is 0x${value.toString(16)}`);
  }

  /**
   * Reads all that is pending.
   *
   * @throws {Finding} `unclear` if there is too much, and what {@linkcode V1Device.iterate} throws.
   */
  drain(): V1Transaction[] {
    const transactions: V1Transaction[] = [];
    let bytes = 0;
    for (let count = 0; count < ITERATIONS_MAX; count += 1) {
      const transaction = this.iterate();
      if (transaction === null) {
        this.#steps.step(`read ${bytes} bytes in ${count} iterations, to the end`);
        return transactions;
      }
      transactions.push(transaction);
      bytes += transaction.data.length;
      if (bytes > STATE_MAX) break;
    }
    throw new Finding("unclear", null, `there is more data than ${bytes} bytes`);
  }

  /** Stops the device, reads its state, and lets it run again. */
  save(): V1Transaction[] {
    this.enter(STOP_AND_COPY);
    const transactions = this.drain();
    this.enter(RUNNING);
    return transactions;
  }

  /** Gives one transaction to a device in RESUMING; returns the errno's name, or null. */
  give(data: Uint8Array<ArrayBuffer>): string | null {
    const { value: offset, errno } = this.read(REGISTER.data_offset);
    if (offset === null) return errno;
    const written = this.pwrite(Number(offset), data);
    return written.errno ?? this.write(REGISTER.data_size, BigInt(data.length)).errno;
  }

  /** Gives transactions to a device in RESUMING; returns the errno's name, or null. */
  giveAll(transactions: readonly V1Transaction[]): string | null {
    for (const { data } of transactions) {
      const errno = this.give(data);
      if (errno === null) continue;
      this.#steps.step(`write a transaction of ${data.length} bytes → ${errno}`);
      return errno;
    }
    this.#steps.step(`write ${transactions.length} transactions → success`);
    return null;
  }

  /** Brings the device to RUNNING by its steps; returns the state that it is in, or null. */
  bringBack(): number | null {
    const now = (): number | null => {
      const { value } = this.read(REGISTER.device_state);
      return value === null ? null : Number(value) & VFIO_DEVICE_STATE_MASK;
    };
    const before = now();
    if (before === null || before === RUNNING || before === ERROR) return before;
    this.set(RUNNING);
    return now();
  }
}
