/**
 * The v1 migration region of a driver that follows the protocol. It refuses and
 * counts violations by the user.
 */

import {
  VFIO_DEVICE_STATE_MASK,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
} from "../../uapi/constants.ts";
import type { RegionLayout } from "./region_layout.ts";
import { refuse } from "../os/refusal.ts";
import type { Bytes } from "../os/bytes.ts";
import type { DriverDevice } from "../driver/driver_device.ts";
import type { MigrationRegion } from "../driver/region.ts";
import {
  getRegister,
  putRegister,
  registerAt,
  type RegisterName,
  REGISTERS_SIZE,
} from "./registers.ts";
import {
  ERROR,
  isArc,
  PRE_COPY,
  RESUMING,
  RUNNING,
  stateName,
  STOP_AND_COPY,
} from "./v1_states.ts";
import { DataSection } from "./data_section.ts";

/** The migration region of `trapped`, `mapped`, `partitioned` and `nvidia-vgpu`. */
export class V1Region implements MigrationRegion {
  readonly size: number;
  readonly flags: number;
  readonly areas: RegionLayout["areas"];
  readonly #owner: DriverDevice;
  /** The data section. */
  readonly data: DataSection;
  readonly #initial: number;
  readonly #saysStop: boolean;
  #deviceState = 0;
  /** The old device_state, which the next read returns with the fault `state-late`. */
  #late: number | null = null;
  /** Whether device_state has not been written since open or reset. */
  #untouched = true;

  /** A region whose device_state is initially `reserved` with RUNNING set. */
  constructor(owner: DriverDevice, layout: RegionLayout, reserved: number, sizeless: boolean) {
    this.size = layout.size;
    this.areas = layout.areas;
    this.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
      (layout.areas === null ? 0 : VFIO_REGION_INFO_FLAG_MMAP);
    this.#owner = owner;
    this.data = new DataSection(owner, layout, sizeless);
    this.#saysStop = owner.faults.standing("stop-at-open") !== undefined;
    this.#initial = (this.#saysStop ? reserved & ~RUNNING : reserved | RUNNING) >>> 0;
  }

  get deviceState(): number {
    return this.#deviceState;
  }

  get running(): boolean {
    return (this.#saysStop && this.#untouched) || (this.#deviceState & RUNNING) !== 0;
  }

  open(): void {
    this.reset();
  }

  reset(): void {
    this.#deviceState = this.#initial;
    this.#late = null;
    this.#untouched = true;
    this.data.end();
  }

  pread(at: number, into: Bytes): number {
    if (at >= REGISTERS_SIZE) return this.data.read(at, into);
    const register = registerAt(at, into.length);
    if (register === null) {
      this.#owner.violate(`a read of ${into.length} bytes at ${at} matches no register`);
      refuse("EINVAL");
    }
    putRegister(into, this.readRegister(register));
    return into.length;
  }

  /** Reads a register. */
  readRegister(register: RegisterName): number {
    switch (register) {
      case "device_state":
        for (const { errno } of this.#owner.faults.due("state-read")) refuse(errno);
        return this.#lateOnce() ?? this.#deviceState;
      case "reserved":
        return 0;
      case "pending_bytes":
        return this.data.readPending();
      case "data_offset":
        return this.data.readOffset();
      case "data_size":
        return this.data.readSize();
    }
  }

  #lateOnce(): number | null {
    const late = this.#late;
    this.#late = null;
    return late;
  }

  pwrite(at: number, from: Bytes): number {
    if (at >= REGISTERS_SIZE) return this.data.write(at, from);
    const register = registerAt(at, from.length);
    switch (register) {
      case null:
        this.#owner.violate(`a write of ${from.length} bytes at ${at} matches no register`);
        return refuse("EINVAL");
      case "pending_bytes":
      case "data_offset":
        this.#owner.violate(`${register} was written; it is read-only`);
        return refuse("EINVAL");
      case "reserved":
        // As the header says: writes are ignored.
        return from.length;
      case "device_state":
        this.writeState(getRegister(from));
        return from.length;
      case "data_size":
        this.data.writeSize(getRegister(from));
        return from.length;
    }
  }

  /** Writes device_state. */
  writeState(value: number): void {
    const due = this.#owner.faults.due("state-write");
    const from = this.#saysStop && this.#untouched
      ? RUNNING
      : this.#deviceState & VFIO_DEVICE_STATE_MASK;
    const to = value & VFIO_DEVICE_STATE_MASK;
    if (((value ^ this.#deviceState) & ~VFIO_DEVICE_STATE_MASK) !== 0) {
      this.#owner.violate(
        `bits 3 to 31 of device_state went from ${hex(this.#deviceState)} to ${hex(value)}`,
      );
    }
    if (!this.allows(from, to)) {
      this.#owner.violate(`device_state went from ${stateName(from)} to ${stateName(to)}`);
      refuse(from === ERROR ? "EIO" : "EINVAL");
    }
    let late = false;
    let kept = ~0;
    for (const { name, errno } of due) {
      if (name === "state-late") late = true;
      else if (name === "reserved-lost") kept = VFIO_DEVICE_STATE_MASK;
      else {
        if (name === "error-state") {
          this.enter((this.#deviceState & ~VFIO_DEVICE_STATE_MASK | ERROR) >>> 0);
        }
        refuse(name === "error-state" ? "EIO" : errno);
      }
    }
    // A restore must be complete before the device may run.
    if (from === RESUMING && to === RUNNING && !this.data.complete()) refuse("EINVAL");
    const before = this.#deviceState;
    const after = (value & kept) >>> 0;
    if (from === to) this.#deviceState = after;
    else this.enter(after);
    this.#untouched = false;
    if (late) this.#late = before;
  }

  /** Whether the device may go from one state to another. */
  allows(from: number, to: number): boolean {
    return isArc(from, to);
  }

  /** Sets device_state, and takes the data section into the state. */
  enter(value: number): void {
    this.#owner.elapse();
    this.#deviceState = value;
    const state = value & VFIO_DEVICE_STATE_MASK;
    if (state === PRE_COPY || state === STOP_AND_COPY) {
      this.data.saving(state === STOP_AND_COPY);
    } else if (state === RESUMING) this.data.restoring();
    else this.data.end();
  }

  load(at: number, into: Uint8Array): void {
    this.data.readMapped(at, into);
  }

  store(at: number, from: Uint8Array): void {
    this.data.writeMapped(at, from);
  }
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}
