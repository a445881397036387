/**
 * The data fd of a simulated v2 device in PRE_COPY or STOP_COPY: it yields the state to save.
 */

import { POLLIN } from "../../kernel/kernel.ts";
import {
  VFIO_MIG_GET_PRECOPY_INFO,
  VFIO_PRECOPY_INFO_REINIT,
  vfioPrecopyInfo,
} from "../../uapi/mod.ts";
import type { DriverDevice } from "../driver/driver_device.ts";
import { PAGE } from "../state/pages.ts";
import { refuse } from "../os/refusal.ts";
import { type Bytes, ViewedBytes } from "../os/bytes.ts";
import { HEADER, RECORD, SaveStream } from "../state/save_stream.ts";
import { type Argument, fromUser, toUser } from "../os/user.ts";
import { DataFile } from "./v2_data_file.ts";
import type { V2Driver } from "../v2_drivers.ts";
import {
  matchData,
  OPTIONAL,
  putHeader,
  RECORD_HEADER,
  sizeData,
  TAG_DATA,
  TAG_MATCH,
  TAG_SIZE,
} from "./v2_records.ts";

/** poll result: the other side of the stream is gone (asm-generic/poll.h). */
const POLLRDHUP = 0x2000;

/** The migration that a save file belongs to. */
export interface Precopying {
  /** Whether the driver has PRE_COPY. */
  readonly hasPreCopy: boolean;
  /** Whether the device is in PRE_COPY or PRE_COPY_P2P. */
  readonly preCopying: boolean;
  /** Whether MIG_PRECOPY_INFOv2 was set: the driver fills in the flags of the precopy info. */
  readonly precopyInfoV2: boolean;
}

interface SmallRecord {
  readonly tag: number;
  readonly flags: number;
  readonly data: Bytes;
}

/** A flag of the precopy info that no header defines. */
const ODD_FLAG = 1 << 1;

/** The bytes that are left to read. */
interface Remaining {
  readonly initial: number;
  readonly dirty: number;
}

/** An open data fd of a device in PRE_COPY or STOP_COPY. */
export class SaveFile extends DataFile {
  readonly #migration: Precopying;
  readonly #driver: V2Driver;
  readonly #limit: number;
  #stopped: boolean;
  /** Records to send before the state. */
  readonly #first: SmallRecord[] = [];
  /** The record that is being read. */
  readonly #record: ViewedBytes;
  #at = 0;
  #end = 0;
  #save: SaveStream | null = null;
  /** Pages of the current image that are not in a record yet. */
  #pages = 0;
  /** Whether the first image is still being read. */
  #initial = true;
  #nextScan = 0;
  /** Whether the precopy info was read before, and its first initial_bytes. */
  #asked = false;
  #initialAtFirst: number | null = null;
  /** How often new initial data will still appear. */
  #reinits: number;

  /** Begins a save; a record has at most `chunk` bytes of data. */
  constructor(
    device: DriverDevice,
    migration: Precopying,
    driver: V2Driver,
    { chunk, stopped }: { readonly chunk: number; readonly stopped: boolean },
  ) {
    super(device, "the save fd");
    this.#migration = migration;
    this.#driver = driver;
    this.#stopped = stopped;
    this.#reinits = driver.reinits ?? 0;
    const whole = HEADER + device.state.pages * (PAGE + RECORD);
    this.#limit = Math.min(chunk, whole);
    this.#record = new ViewedBytes(new Uint8Array(RECORD_HEADER + this.#limit));
    const { state } = device;
    if (driver.sizeRecord) {
      this.#first.push({ tag: TAG_SIZE, flags: OPTIONAL, data: sizeData(state.size) });
    }
    if (driver.precopy === "preface") this.#beginPreface();
    if (stopped || driver.precopy === "images") this.#beginImage();
  }

  /** The device stops: the rest of the data is the last image. */
  stop(): void {
    this.#stopped = true;
    if (this.#save === null) this.#beginImage();
  }

  #beginPreface(): void {
    const data = matchData(this.device.personality, this.device.state.size);
    this.#first.push({ tag: TAG_MATCH, flags: 0, data });
  }

  #beginImage(): void {
    this.#save ??= new SaveStream(this.device.state, false);
    this.#pages = this.device.state.dirtyPages;
  }

  override read(into: Bytes): number {
    const interrupted = this.begin("read");
    let room = interrupted ? Math.ceil(into.length / 2) : into.length;
    for (const { name, errno } of this.device.faults.due("data-read")) {
      if (name === "read") refuse(errno);
      room = Math.ceil(room / 2);
    }
    this.device.elapse();
    if (this.device.faults.standing("no-data") !== undefined) room = 0;
    let done = 0;
    while (done < room && (this.#at < this.#end || this.#next())) {
      const run = Math.min(room - done, this.#end - this.#at);
      into.set(this.#record.bytes.subarray(this.#at, this.#at + run), done);
      this.#at += run;
      done += run;
    }
    if (interrupted) refuse("EINTR");
    const zero = this.device.faults.standing("drained-zero") !== undefined;
    const drained = zero ? null : this.#driver.drained;
    if (done === 0 && !this.#stopped && drained !== null) refuse(drained);
    return done;
  }

  /** Whether there is data to read now. */
  get #ready(): boolean {
    return this.#stopped || this.#at < this.#end || this.#first.length > 0 || this.#imageLeft > 0;
  }

  /** Bytes of the current image that are not in a record yet. */
  get #imageLeft(): number {
    return this.#pages * PAGE + (this.#save?.cut ?? 0);
  }

  /** Makes the next record; false if there is none now. */
  #next(): boolean {
    const small = this.#first.shift();
    if (small !== undefined) {
      this.#record.bytes.set(small.data, RECORD_HEADER);
      this.#put(small.data.length, small.tag, small.flags);
      return true;
    }
    const save = this.#save;
    if (save === null) return false;
    const { state } = this.device;
    if (!this.#stopped) this.#changeAll();
    if (this.#stopped ? save.pending(true) === 0 : this.#imageLeft === 0) return false;
    // An image has only the pages it began with; pages that change meanwhile go into the next one.
    const image = HEADER + RECORD + this.#imageLeft + this.#pages * RECORD;
    const limit = this.#stopped ? this.#limit : Math.min(this.#limit, image);
    const before = state.dirtyPages;
    const size = save.next(this.#record, RECORD_HEADER, limit, this.#stopped);
    this.#pages = Math.max(0, this.#pages - (before - state.dirtyPages));
    this.#put(size, TAG_DATA, 0);
    return true;
  }

  /** With the fault `never-drains`: the whole state changes once an image was read. */
  #changeAll(): void {
    const { state, faults } = this.device;
    if (this.#imageLeft > 0 || faults.standing("never-drains") === undefined) return;
    state.trackAll();
    this.#beginImage();
    this.#initial = false;
  }

  #put(size: number, tag: number, flags: number): void {
    putHeader(this.#record.view, size, tag, flags);
    this.#at = 0;
    this.#end = RECORD_HEADER + size;
  }

  override poll(events: number): number {
    if (!this.#driver.polls) return super.poll(events);
    if (!this.enabled) return (events & POLLIN) | POLLRDHUP;
    return this.#ready ? events & POLLIN : 0;
  }

  ioctl(request: number, arg: Argument): number {
    if (request !== VFIO_MIG_GET_PRECOPY_INFO || !this.#migration.hasPreCopy) refuse("ENOTTY");
    this.device.checkPresent();
    const { argsz, flags } = fromUser(vfioPrecopyInfo, arg);
    if (argsz < vfioPrecopyInfo.size) refuse("EINVAL");
    if (!this.#migration.preCopying) {
      this.device.violate("the precopy info was asked for outside PRE_COPY");
      refuse("EINVAL");
    }
    if (!this.enabled) refuse("ENODEV");
    if (flags !== 0) this.device.violate(`the precopy info was asked for with flags ${flags}`);
    for (const { errno } of this.device.faults.due("precopy-info")) refuse(errno);
    const { precopyInfoV2 } = this.#migration;
    const reinit = this.#reinit(precopyInfoV2);
    const { initial, dirty } = this.#reported(this.#remaining());
    const odd = this.device.faults.standing("precopy-flags") === undefined ? 0 : ODD_FLAG;
    toUser(vfioPrecopyInfo, arg, {
      argsz,
      // Unchanged without MIG_PRECOPY_INFOv2: drivers write the flags only if it was set.
      flags: (odd | (precopyInfoV2 ? (reinit ? VFIO_PRECOPY_INFO_REINIT : 0) : flags)) >>> 0,
      initial_bytes: BigInt(initial),
      dirty_bytes: BigInt(dirty),
    });
    return 0;
  }

  /** What the driver reports, with the faults applied. */
  #reported(left: Remaining): Remaining {
    const { faults } = this.device;
    let { initial, dirty } = left;
    if (faults.standing("no-data") !== undefined) return { initial: 0, dirty: 0 };
    if (faults.standing("initial-zero") !== undefined) [initial, dirty] = [0, initial + dirty];
    const first = this.#initialAtFirst ??= initial;
    if (faults.standing("initial-stays") !== undefined && initial > 0) initial = first;
    if (faults.standing("dirty-first") !== undefined && !this.#asked) dirty += PAGE;
    this.#asked = true;
    return { initial, dirty };
  }

  /**
   * Reinitialises the device once all data was read, if that is still due. Returns whether to
   * report new initial data. If the caller did not set MIG_PRECOPY_INFOv2, the new data counts as
   * dirty bytes instead.
   */
  #reinit(reports: boolean): boolean {
    if (this.#reinits === 0 || this.#left > 0) return false;
    this.#reinits -= 1;
    if (this.#driver.precopy === "preface") this.#beginPreface();
    else {
      this.device.state.trackAll();
      this.#beginImage();
    }
    this.#initial = reports;
    return reports;
  }

  /** Known bytes that were not read yet. */
  get #left(): number {
    const first = this.#first.reduce((sum, { data }) => sum + RECORD_HEADER + data.length, 0);
    return this.#end - this.#at + first + this.#imageLeft;
  }

  /** The bytes that are left to read. The driver scans for changes once all data was read. */
  #remaining(): Remaining {
    const { faults } = this.device;
    this.device.elapse();
    let left = this.#left;
    this.#initial &&= left > 0;
    if (left === 0) {
      this.#changeAll();
      left = this.#imageLeft;
    }
    if (this.#initial) return { initial: left, dirty: 0 };
    const promised = faults.standing("initial-never-zero") === undefined ? 0 : PAGE;
    return { initial: promised, dirty: left + this.#scanForChanges(left === 0) };
  }

  /** Bytes that changed since they were read; they form the next image if none is in progress. */
  #scanForChanges(idle: boolean): number {
    const { state } = this.device;
    if (this.#save === null || state.now < this.#nextScan) return 0;
    this.#nextScan = state.now + this.#driver.scanInterval;
    const changed = Math.max(0, state.dirtyPages - this.#pages);
    if (idle) this.#pages = state.dirtyPages;
    return changed * PAGE;
  }
}
