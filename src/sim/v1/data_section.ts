/**
 * The data section of a simulated v1 migration region, and the order in which its
 * registers may be accessed: pending_bytes, data_offset, data_size, data while
 * saving; data_offset, data, data_size while restoring.
 */

import type { DeviceState } from "../state/device_state.ts";
import type { FaultName } from "../faults/fault_plan.ts";
import type { RegionLayout } from "./region_layout.ts";
import { LoadStream } from "../state/load_stream.ts";
import { PAGE } from "../state/pages.ts";
import { refuse } from "../os/refusal.ts";
import { type Bytes, ViewedBytes } from "../os/bytes.ts";
import type { DriverDevice } from "../driver/driver_device.ts";
import { SaveStream } from "../state/save_stream.ts";
import { sleepSync } from "../../kernel/process/sleep_sync.ts";

/** The progress of the current transaction; `started` and `sized` occur while saving only. */
type Step = "idle" | "started" | "placed" | "sized";

/** The transactions of one device; at any time they go in one direction. */
export class DataSection {
  readonly #owner: DriverDevice;
  readonly #state: DeviceState;
  readonly #layout: RegionLayout;
  /** Whether data_size reads 0, and a transaction is as much as is pending and fits. */
  readonly #sizeless: boolean;
  #data = new ViewedBytes(new Uint8Array(0));

  #save: SaveStream | null = null;
  /** The restore in progress; null if there is none. */
  load: LoadStream | null = null;
  #stopped = false;
  #step: Step = "idle";
  #transactions = 0;
  #pending = 0;
  #offset = 0;
  #size = 0;
  #touched = 0;

  /** Transactions of a device, placed as in `layout`. */
  constructor(owner: DriverDevice, layout: RegionLayout, sizeless: boolean) {
    this.#owner = owner;
    this.#state = owner.state;
    this.#layout = layout;
    this.#sizeless = sizeless;
  }

  /** Whether the last transaction of a save has been written. */
  complete(): boolean {
    return this.load?.complete ?? false;
  }

  /** The device leaves the states for saving and restoring. */
  end(): void {
    this.#step = "idle";
    this.#save = null;
    this.load = null;
    this.#state.untrack();
  }

  /** A save begins, or continues in another state. */
  saving(stopped: boolean): void {
    this.#step = "idle";
    this.#stopped = stopped;
    if (this.#save !== null) return;
    this.#begin();
    this.#save = new SaveStream(this.#state, this.#sizeless);
  }

  /** A restore begins. */
  restoring(): void {
    this.end();
    this.#begin();
    this.load = new LoadStream(this.#state);
  }

  #begin(): void {
    this.#transactions = 0;
    this.#pending = 0;
    if (this.#data.bytes.length > 0) return;
    this.#data = new ViewedBytes(new Uint8Array(this.#layout.size));
  }

  #violate(how: string): never {
    this.#owner.violate(how);
    return refuse("EINVAL");
  }

  /** pending_bytes is read: a new iteration begins. */
  readPending(): number {
    if (this.#save === null) return 0;
    if (this.#step === "sized" && this.#touched < this.#size) {
      this.#owner.violate(
        `only ${this.#touched} of ${this.#size} bytes of transaction ${this.#transactions} were read`,
      );
    }
    this.#state.elapse(!this.#stopped);
    const stuck = this.#stopped && this.#pending > 0 && this.#owner.faults.standing("stuck");
    if (!stuck) this.#pending = this.#pendingNow(this.#save);
    this.#step = "started";
    return this.#pending;
  }

  #pendingNow(save: SaveStream): number {
    const { faults } = this.#owner;
    if (faults.standing("no-data") !== undefined) return 0;
    const grows = this.#stopped && faults.due("pending-read").length > 0;
    return grows ? this.#pending + PAGE : save.pending(this.#stopped);
  }

  /** data_offset is read: the data, or the room for it, becomes available. */
  readOffset(): number {
    if (this.#save !== null) {
      if (this.#step === "idle") this.#violate("data_offset was read before pending_bytes");
      if (this.#step === "started" && this.#pending === 0) {
        this.#violate("data_offset was read although pending_bytes was 0");
      }
    } else if (this.load === null) {
      this.#violate("data_offset was read, but the device is neither being saved nor restored");
    }
    let lie: FaultName | null = null;
    let shift = 0;
    for (const { name, ms } of this.#owner.faults.due("transaction")) {
      if (name === "block") sleepSync(ms);
      else if (name === "gone") this.#owner.lose();
      // While restoring, a shifted transaction might not fit in the rest of the region.
      else if (name === "offset-unaligned") shift = this.#save === null ? 0 : 8;
      else lie = name;
    }
    if (this.#step === "idle" || this.#step === "started") this.#place(shift);
    return lie === "offset-zero" ? 0 : lie === "lie-offset" ? this.#layout.size : this.#offset;
  }

  /** Begins a transaction: places it, moved by `shift` bytes, and fills it while saving. */
  #place(shift: number): void {
    const { dataOffsets } = this.#layout;
    const window = this.#layout.window - shift;
    this.#offset = dataOffsets[this.#transactions % dataOffsets.length]! + shift;
    this.#transactions += 1;
    this.#size = 0;
    this.#touched = 0;
    this.#step = "placed";
    if (this.#save === null) return;
    const lies = this.#owner.faults.due("size-read").map(({ name }) => name);
    // An empty transaction takes nothing from the state, so nothing is lost.
    if (lies.includes("data-size-zero")) return;
    this.#size = this.#save.next(
      this.#data,
      this.#offset,
      this.#sizeless ? Math.min(this.#pending, window) : window,
      this.#stopped,
    );
    if (lies.includes("lie-size")) this.#size = this.#layout.size;
    if (lies.includes("lie-wrap")) this.#size = 2 ** 64 - 4096;
  }

  /** data_size is read. */
  readSize(): number {
    if (this.#save === null) this.#violate("data_size was read, but the device is not being saved");
    if (this.#step !== "placed" && this.#step !== "sized") {
      this.#violate("data_size was read before data_offset");
    }
    this.#step = "sized";
    return this.#sizeless ? 0 : this.#size;
  }

  /** data_size is written: the device takes the transaction. */
  writeSize(size: number): void {
    if (this.load === null) {
      return this.#violate("data_size was written, but the device is not being restored");
    }
    if (this.#step !== "placed") this.#violate("data_size was written before data_offset was read");
    if (size > this.#layout.window) {
      this.#violate(`data_size is ${size}, but at most ${this.#layout.window} fit`);
    }
    if (size !== this.#touched) {
      this.#violate(`data_size is ${size}, but ${this.#touched} bytes were written`);
    }
    for (const { errno } of this.#owner.faults.due("size-write")) refuse(errno);
    const verdict = this.load.take(this.#data, this.#offset, size);
    if (verdict.violation !== undefined) this.#violate(verdict.violation);
    if (!verdict.taken) refuse("EINVAL");
    this.#step = "idle";
  }

  /** Why these bytes may not be accessed now; null if they may. */
  #outside(at: number, length: number, write: boolean): string | null {
    const verb = write ? "written" : "read";
    if ((write ? this.load : this.#save) === null) {
      return `data was ${verb}, but the device is not being ${write ? "restored" : "saved"}`;
    }
    if (this.#step !== (write ? "placed" : "sized")) {
      return `data was ${verb} before ${write ? "data_offset" : "data_size"} was read`;
    }
    const end = this.#offset + (write ? this.#layout.window : this.#size);
    if (at >= this.#offset && at + length <= end) return null;
    return `bytes ${at} to ${
      at + length
    } were ${verb}; the data lies from ${this.#offset} to ${end}`;
  }

  /** Data is read by pread. */
  read(at: number, into: Bytes): number {
    const wrong = this.#outside(at, into.length, false);
    if (wrong !== null) this.#violate(wrong);
    let length = into.length;
    for (const { name, errno } of this.#owner.faults.due("data-read")) {
      if (name === "read") refuse(errno);
      length = Math.ceil(length / 2);
    }
    into.set(this.#data.bytes.subarray(at, at + length));
    this.#touched += length;
    return length;
  }

  /** Data is written by pwrite. */
  write(at: number, from: Bytes): number {
    const wrong = this.#outside(at, from.length, true);
    if (wrong !== null) this.#violate(wrong);
    let length = from.length;
    for (const { name, errno } of this.#owner.faults.due("data-write")) {
      if (name === "write") refuse(errno);
      length = Math.ceil(length / 2);
    }
    this.#data.bytes.set(length === from.length ? from : from.subarray(0, length), at);
    this.#touched += length;
    return length;
  }

  /** Data is read through a mapping. */
  readMapped(at: number, into: Uint8Array): void {
    const wrong = this.#outside(at, into.length, false);
    if (wrong !== null) this.#owner.violate(`${wrong} (mapped)`);
    into.set(this.#data.bytes.subarray(at, at + into.length));
    this.#touched += into.length;
  }

  /** Data is written through a mapping. */
  writeMapped(at: number, from: Uint8Array): void {
    const wrong = this.#outside(at, from.length, true);
    if (wrong !== null) this.#owner.violate(`${wrong} (mapped)`);
    this.#data.bytes.set(from, at);
    this.#touched += from.length;
  }
}
