/**
 * The v1 migration region of Intel's ice driver, which deviates from the
 * protocol's text: all data is one transaction, the registers do not check the
 * order of accesses, and every data read decreases pending_bytes.
 */

import { VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE } from "../../uapi/constants.ts";
import type { RegionLayout } from "./region_layout.ts";
import { LoadStream } from "../state/load_stream.ts";
import { refuse } from "../os/refusal.ts";
import { type Bytes, ViewedBytes } from "../os/bytes.ts";
import type { DriverDevice } from "../driver/driver_device.ts";
import type { MigrationRegion } from "../driver/region.ts";
import {
  getRegister,
  putRegister,
  registerAt,
  type RegisterName,
  REGISTERS_SIZE,
} from "./registers.ts";
import { SaveStream } from "../state/save_stream.ts";
import { sleepSync } from "../../kernel/process/sleep_sync.ts";
import { ERROR, RESUMING, RUNNING, stateName, STOP, STOP_AND_COPY } from "./v1_states.ts";

/** The migration region of `ice`. */
export class IceRegion implements MigrationRegion {
  readonly size: number;
  readonly flags: number = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
  readonly areas = null;
  readonly #owner: DriverDevice;
  readonly #dataSize: number;
  #data = new ViewedBytes(new Uint8Array(0));
  #deviceState = 0;
  /** device_state reads 0 at open, although the device runs. */
  #untouched = true;
  /** The old device_state, which the next read returns with the fault `state-late`. */
  #late: number | null = null;
  #pending = 0n;
  #read = 0;

  constructor(owner: DriverDevice, layout: RegionLayout) {
    this.size = layout.size;
    this.#owner = owner;
    this.#dataSize = layout.window;
  }

  get deviceState(): number {
    return this.#deviceState;
  }

  get running(): boolean {
    return this.#untouched || (this.#deviceState & RUNNING) !== 0;
  }

  open(): void {
    this.#deviceState = 0;
    this.#untouched = true;
    this.#pending = 0n;
    this.#read = 0;
    this.#data = new ViewedBytes(new Uint8Array(this.size));
  }

  reset(): void {
    // The driver's reset leaves the migration region alone. ERROR is the exception: nothing else
    // ends it.
    if (this.#deviceState === ERROR) this.open();
  }

  pread(at: number, into: Bytes): number {
    if (at >= REGISTERS_SIZE) return this.#dataRead(at, into);
    putRegister(into, this.#register(this.#registerAt(at, into, "read")));
    return into.length;
  }

  /** A wrong width at a register's offset is EINVAL; an unknown offset is EFAULT. */
  #registerAt(at: number, bytes: Bytes, verb: "read" | "written"): RegisterName {
    const register = registerAt(at, bytes.length);
    if (register !== null && register !== "reserved") return register;
    this.#owner.violate(`${bytes.length} bytes at ${at} were ${verb}; there is no such register`);
    return refuse([0, 8, 16, 24].includes(at) ? "EINVAL" : "EFAULT");
  }

  #register(register: RegisterName): number | bigint {
    switch (register) {
      case "pending_bytes":
        this.#owner.elapse();
        return this.#owner.faults.standing("no-data") === undefined ? this.#pending : 0n;
      case "data_offset":
        return this.#readOffset();
      case "data_size":
        if (this.#deviceState !== STOP_AND_COPY) {
          this.#owner.violate(`data_size was read in ${stateName(this.#deviceState)}`);
          refuse("EINVAL");
        }
        return this.#readSize();
      default:
        for (const { errno } of this.#owner.faults.due("state-read")) refuse(errno);
        return this.#lateOnce() ?? this.#deviceState;
    }
  }

  #lateOnce(): number | null {
    const late = this.#late;
    this.#late = null;
    return late;
  }

  #readOffset(): number {
    let offset = REGISTERS_SIZE;
    for (const { name, ms } of this.#owner.faults.due("transaction")) {
      if (name === "block") sleepSync(ms);
      else if (name === "gone") this.#owner.lose();
      else offset = name === "offset-zero" ? 0 : this.size;
    }
    return offset;
  }

  #readSize(): number {
    let size = this.#dataSize;
    for (const { name } of this.#owner.faults.due("size-read")) {
      if (name === "data-size-zero") size = 0;
      else size = name === "lie-size" ? this.size : 2 ** 64 - 4096;
    }
    return size;
  }

  #dataRead(at: number, into: Bytes): number {
    if (at + into.length > this.size) refuse("EINVAL");
    if (this.#deviceState !== STOP_AND_COPY) {
      this.#owner.violate(`data was read in ${stateName(this.#deviceState)}`);
    } else if (this.#read + into.length > this.#dataSize) {
      this.#owner.violate("data was read twice: pending_bytes wraps");
    }
    let length = into.length;
    for (const { name, errno } of this.#owner.faults.due("data-read")) {
      if (name === "read") refuse(errno);
      length = Math.ceil(length / 2);
    }
    into.set(this.#data.bytes.subarray(at, at + length));
    this.#read += length;
    this.#pending = BigInt.asUintN(64, this.#pending - BigInt(length));
    return length;
  }

  pwrite(at: number, from: Bytes): number {
    if (at >= REGISTERS_SIZE) return this.#dataWrite(at, from);
    const register = this.#registerAt(at, from, "written");
    if (register === "device_state") this.#writeState(getRegister(from));
    else if (register === "data_size") this.#writeSize(getRegister(from));
    else {
      this.#owner.violate(`${register} was written; it is read-only`);
      refuse("EFAULT");
    }
    return from.length;
  }

  #dataWrite(at: number, from: Bytes): number {
    if (at + from.length > this.size) refuse("EINVAL");
    if (this.#deviceState !== RESUMING) {
      this.#owner.violate(`data was written in ${stateName(this.#deviceState)}`);
    }
    let length = from.length;
    for (const { name, errno } of this.#owner.faults.due("data-write")) {
      if (name === "write") refuse(errno);
      length = Math.ceil(length / 2);
    }
    this.#data.bytes.set(from.subarray(0, length), at);
    return length;
  }

  #writeSize(size: number): void {
    if (this.#deviceState !== RESUMING) {
      this.#owner.violate(`data_size was written in ${stateName(this.#deviceState)}`);
      refuse("EINVAL");
    }
    for (const { errno } of this.#owner.faults.due("size-write")) refuse(errno);
    if (size !== this.#dataSize) refuse("EINVAL");
  }

  #writeState(value: number): void {
    const due = this.#owner.faults.due("state-write");
    const from = this.#deviceState;
    // Writing the value that the register shows does nothing, not even at open.
    if (value === from) return;
    if (value > RESUMING) {
      this.#owner.violate(`device_state was written 0x${value.toString(16)}`);
      refuse("EFAULT");
    }
    this.#owner.elapse();
    let late = false;
    for (const { name, errno } of due) {
      if (name === "state-late") {
        late = true;
        continue;
      }
      if (name === "error-state") {
        this.#deviceState = ERROR;
        this.#untouched = false;
        refuse("EIO");
      }
      refuse(errno);
    }
    if (from === ERROR) {
      this.#owner.violate(`device_state was written ${stateName(value)} in ERROR`);
      refuse("EIO");
    }
    if (value === RUNNING && from === RESUMING) this.#loadState();
    if (value === STOP_AND_COPY) this.#saveState();
    if (value === STOP) this.#pending = 0n;
    this.#deviceState = value;
    this.#untouched = false;
    if (late) this.#late = from;
  }

  #saveState(): void {
    const { state } = this.#owner;
    const save = new SaveStream(state, false);
    save.next(this.#data, REGISTERS_SIZE, this.#dataSize, true);
    state.untrack();
    this.#pending = BigInt(this.#dataSize);
    this.#read = 0;
  }

  #loadState(): void {
    const load = new LoadStream(this.#owner.state);
    if (!load.take(this.#data, REGISTERS_SIZE, this.#dataSize).taken) refuse("EINVAL");
  }

  load(at: number, into: Uint8Array): void {
    into.set(this.#data.bytes.subarray(at, at + into.length));
  }

  store(at: number, from: Uint8Array): void {
    this.#data.bytes.set(from, at);
  }
}
