/**
 * The v2 migration of a simulated device: its state, and the steps from one to
 * another, arc by arc as the kernel's core asks the driver for them.
 */

import { VFIO_MIGRATION_PRE_COPY } from "../uapi/constants.ts";
import type { Device } from "./_device.ts";
import type { FaultName } from "./_faults.ts";
import { refuse } from "./_refusal.ts";
import type { DataFile } from "./_v2_data_file.ts";
import type { V2Driver } from "./_v2_drivers.ts";
import { ResumeFile } from "./_v2_resume_file.ts";
import { SaveFile } from "./_v2_save_file.ts";
import {
  ERROR,
  isPreCopy,
  isRunning,
  nextHop,
  RESUMING,
  RUNNING,
  STOP_COPY,
  v2StateName,
} from "./_v2_states.ts";

/** Faults of an arc that is taken. */
const AFTERWARDS: readonly FaultName[] = ["late-error", "state-late", "fd-extra"];

/** A device's v2 migration. */
export class V2Migration {
  readonly #device: Device;
  readonly #driver: V2Driver;
  readonly #chunk: number;
  /** Whether the precopy info's flags are an answer: MIG_PRECOPY_INFOv2 was set. */
  tellsFlags = false;
  #state = RUNNING;
  /** What is read once more, where the driver is late. */
  #late: number | null = null;
  #file: DataFile | null = null;

  /** A running device; a record of its data has `chunk` bytes at most. */
  constructor(device: Device, driver: V2Driver, chunk: number) {
    this.#device = device;
    this.#driver = driver;
    this.#chunk = chunk;
  }

  /** VFIO_MIGRATION_*. */
  get flags(): number {
    return this.#driver.flags;
  }

  /** The state, as VFIO_DEVICE_STATE_*. */
  get deviceState(): number {
    return this.#state;
  }

  /** The state as a GET tells it. */
  readState(): number {
    const state = this.#late ?? this.#state;
    this.#late = null;
    return state;
  }

  /** Whether the device works now. */
  get running(): boolean {
    return isRunning(this.#state);
  }

  /** Whether the driver has PRE_COPY. */
  get hasPreCopy(): boolean {
    return (this.#driver.flags & VFIO_MIGRATION_PRE_COPY) !== 0;
  }

  /** Whether there is MIG_PRECOPY_INFOv2 in the kernel. */
  get mayTellFlags(): boolean {
    return this.#driver.reinits !== null;
  }

  /** Whether the device is in PRE_COPY or PRE_COPY_P2P. */
  get preCopying(): boolean {
    return isPreCopy(this.#state);
  }

  /** About how much STOP_COPY will give; null where the driver does not tell. */
  get dataSize(): number | null {
    return this.#driver.dataSize ? this.#device.state.size : null;
  }

  /** The last one to have it open closes it. */
  close(): void {
    this.reset();
    this.tellsFlags = false;
  }

  /** The device is opened or reset. */
  reset(): void {
    this.#endData();
    this.#state = RUNNING;
    this.#late = null;
  }

  #endData(): void {
    this.#file?.disable();
    this.#file = null;
    this.#device.state.untrack();
  }

  /**
   * Goes to a state by as many arcs as it takes; an arc that fails leaves the
   * device where the last one led. Returns the file that came with the last
   * arc, null where there is none.
   */
  setState(target: number): DataFile | null {
    if (this.#nextHop(target) === null) {
      this.#device.violate(`${v2StateName(target)} was asked for in ${v2StateName(this.#state)}`);
    }
    let made: DataFile | null = null;
    while (this.#state !== target) {
      const next = this.#nextHop(target) ?? refuse("EINVAL");
      const { fails, lags, extra } = this.#faultyArc();
      const before = this.#state;
      made = this.#arc(next);
      if (extra) made ??= this.#strayFile();
      this.#state = next;
      if (lags) this.#late = before;
      if (!fails) continue;
      this.#fail();
      return next === target ? made : refuse("EINVAL");
    }
    return made;
  }

  /** Null where the step is refused. */
  #nextHop(target: number): number | null {
    return nextHop(this.#state, target, this.#driver.flags);
  }

  /** An arc begins; what is to go wrong once it was taken. */
  #faultyArc(): {
    /** The device fails. */
    readonly fails: boolean;
    /** The state is read as it was, once. */
    readonly lags: boolean;
    /** A file comes with it, due or not. */
    readonly extra: boolean;
  } {
    this.#device.elapse();
    const due = this.#device.faults.due("state-write");
    for (const { name, errno } of due) {
      if (AFTERWARDS.includes(name)) continue;
      if (name === "error-state") this.#fail();
      refuse(errno);
    }
    const [fails, lags, extra] = AFTERWARDS.map((one) => due.some(({ name }) => name === one));
    return { fails: fails!, lags: lags!, extra: extra! };
  }

  /** A file of no use. */
  #strayFile(): DataFile {
    const file = new ResumeFile(this.#device, this.#driver);
    file.disable();
    return file;
  }

  #fail(): void {
    this.#endData();
    this.#state = ERROR;
  }

  #arc(to: number): DataFile | null {
    const from = this.#state;
    if (isPreCopy(to)) return isPreCopy(from) ? null : this.#open(false);
    if (to === STOP_COPY) {
      if (!isPreCopy(from)) return this.#open(true);
      (this.#file as SaveFile).stop();
      return null;
    }
    if (to === RESUMING) {
      this.#file = new ResumeFile(this.#device, this.#driver);
      return this.#file;
    }
    if (from === RESUMING) (this.#file as ResumeFile).finish();
    this.#endData();
    return null;
  }

  #open(stopped: boolean): SaveFile {
    const file = new SaveFile(this.#device, this.#driver, this.#chunk, stopped);
    this.#file = file;
    return file;
  }
}
