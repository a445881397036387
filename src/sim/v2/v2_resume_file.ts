/**
 * The data fd of a simulated v2 device in RESUMING: it takes the state to restore.
 */

import type { ErrnoName } from "../../kernel/errno_names.ts";
import type { DriverDevice } from "../driver/driver_device.ts";
import { LoadStream } from "../state/load_stream.ts";
import { refuse } from "../os/refusal.ts";
import { type Bytes, ViewedBytes } from "../os/bytes.ts";
import { DataFile } from "./v2_data_file.ts";
import type { V2Driver } from "../v2_drivers.ts";
import {
  getHeader,
  matchData,
  OPTIONAL,
  RECORD_HEADER,
  TAG_DATA,
  TAG_MATCH,
} from "./v2_records.ts";

/** An upper limit that no record of a simulated device reaches. */
const MAX_RECORD = 1024 ** 3 + 4096;

/** An open data fd of a device in RESUMING. */
export class ResumeFile extends DataFile {
  readonly #driver: V2Driver;
  /** What was loaded so far. */
  readonly load: LoadStream;
  #matched: boolean;
  /** Whether the current write has a header to refuse, after all of its bytes were taken. */
  #mismatched = false;
  #failed: ErrnoName | null = null;
  /** The header or the data that is being collected, and how many bytes of it have come. */
  #part = new ViewedBytes(new Uint8Array(RECORD_HEADER));
  #filled = 0;
  /** The header of the record whose data `part` is; null while `part` is a header. */
  #header: ReturnType<typeof getHeader> | null = null;

  /** Begins a restore. */
  constructor(device: DriverDevice, driver: V2Driver) {
    super(device, "the resume fd");
    this.#driver = driver;
    this.load = new LoadStream(device.state);
    this.#matched = driver.precopy === "images";
  }

  override write(from: Bytes): number {
    const interrupted = this.begin("written");
    if (this.#failed !== null) {
      this.device.violate(`${this.label} was written after a write had failed`);
      if (!this.#driver.forgetsMismatch) refuse(this.#failed);
    }
    let length = interrupted ? Math.ceil(from.length / 2) : from.length;
    for (const { name, errno } of this.device.faults.due("data-write")) {
      if (name === "write" && errno === "EAGAIN") refuse(errno);
      if (name === "write") this.#fail(errno);
      length = Math.ceil(length / 2);
    }
    this.#take(from.subarray(0, length));
    if (interrupted) refuse("EINTR");
    if (this.#mismatched) {
      this.#mismatched = false;
      this.#fail(this.#driver.mismatch);
    }
    return length;
  }

  ioctl(_request: number): number {
    return refuse("ENOTTY");
  }

  #fail(code: ErrnoName): never {
    this.#failed = code;
    return refuse(code);
  }

  #take(from: Bytes): void {
    for (let done = 0; done < from.length;) {
      if (this.load.complete) this.#fail(this.#driver.tooLong);
      const run = Math.min(from.length - done, this.#part.bytes.length - this.#filled);
      this.#part.bytes.set(from.subarray(done, done + run), this.#filled);
      this.#filled += run;
      done += run;
      if (this.#filled === this.#part.bytes.length) this.#takePart();
    }
  }

  #takePart(): void {
    const { view } = this.#part;
    this.#filled = 0;
    if (this.#header === null) {
      this.#header = getHeader(view);
      const { size } = this.#header;
      if (size > MAX_RECORD) this.#fail("ENOMEM");
      if (size === 0) this.#fail("EINVAL");
      this.#part = new ViewedBytes(new Uint8Array(size));
      return;
    }
    this.#takeRecord(this.#header);
    this.#header = null;
    this.#part = new ViewedBytes(new Uint8Array(RECORD_HEADER));
  }

  #takeRecord({ tag, flags, size }: ReturnType<typeof getHeader>): void {
    switch (tag) {
      case TAG_DATA:
        if (!this.#matched || !this.load.take(this.#part, 0, size).taken) {
          this.#fail(this.#driver.mismatch);
        }
        break;
      case TAG_MATCH:
        this.#matched = this.matches();
        if (this.#matched) break;
        if (!this.#driver.forgetsMismatch) this.#fail(this.#driver.mismatch);
        this.#matched = true;
        this.#mismatched = true;
        break;
      default:
        if ((flags & OPTIONAL) === 0) this.#fail("EOPNOTSUPP");
    }
  }

  /** Whether the record in hand has this device's identity. */
  matches(): boolean {
    const own = matchData(this.device.personality, this.device.state.size);
    const { bytes } = this.#part;
    return own.length === bytes.length && own.every((byte, at) => byte === bytes[at]);
  }

  /** The transition to STOP: the state must be complete. */
  finish(): void {
    if (this.#failed !== null) {
      this.device.violate("STOP was asked for after a write that was refused");
    }
    if (!this.load.complete) refuse("EINVAL");
  }
}
