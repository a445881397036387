/**
 * The v2 migration of a simulated device: its state, and the transitions between
 * states, arc by arc as the kernel's core asks the driver for them.
 */

import { VFIO_MIGRATION_PRE_COPY } from "../../uapi/constants.ts";
import type { DriverDevice } from "../driver/driver_device.ts";
import type { FaultName } from "../faults/fault_plan.ts";
import { refuse } from "../os/refusal.ts";
import type { DataFile } from "./v2_data_file.ts";
import type { V2Driver } from "../v2_drivers.ts";
import { ResumeFile } from "./v2_resume_file.ts";
import { SaveFile } from "./v2_save_file.ts";
import {
  ERROR,
  isPreCopy,
  isRunning,
  nextHop,
  RESUMING,
  RUNNING,
  STOP_COPY,
  v2StateName,
} from "./v2_states.ts";

/** Faults that let the arc succeed, and take effect after it. */
const AFTER_ARC: readonly FaultName[] = ["late-error", "state-late", "fd-extra"];

/** A device's v2 migration. */
export class V2Migration {
  readonly #device: DriverDevice;
  readonly #driver: V2Driver;
  readonly #chunk: number;
  /** Whether MIG_PRECOPY_INFOv2 was set: the driver fills in the flags of the precopy info. */
  precopyInfoV2 = false;
  #state = RUNNING;
  /** The old state, which the next read returns with the fault `state-late`. */
  #late: number | null = null;
  #file: DataFile | null = null;

  /** A running device, whose records have at most `chunk` bytes of data. */
  constructor(device: DriverDevice, driver: V2Driver, chunk: number) {
    this.#device = device;
    this.#driver = driver;
    this.#chunk = chunk;
  }

  /** The VFIO_MIGRATION_* flags that the driver reports. */
  flags(): number {
    return this.#driver.flags;
  }

  /** The state, VFIO_DEVICE_STATE_*. */
  get deviceState(): number {
    return this.#state;
  }

  /** Sets the state. */
  enter(state: number): void {
    this.#state = state;
  }

  /** The state that a GET returns. */
  readState(): number {
    const state = this.#late ?? this.#state;
    this.#late = null;
    return state;
  }

  /** Whether the device runs. */
  get running(): boolean {
    return isRunning(this.#state);
  }

  /** Whether the driver has PRE_COPY. */
  get hasPreCopy(): boolean {
    return (this.#driver.flags & VFIO_MIGRATION_PRE_COPY) !== 0;
  }

  /** Whether the kernel has MIG_PRECOPY_INFOv2. */
  get hasPrecopyInfoV2(): boolean {
    return this.#driver.reinits !== null;
  }

  /** Whether the device is in PRE_COPY or PRE_COPY_P2P. */
  get preCopying(): boolean {
    return isPreCopy(this.#state);
  }

  /** An estimate of the bytes that STOP_COPY yields; null if the driver has no MIG_DATA_SIZE. */
  dataSize(): number | null {
    return this.#driver.dataSize ? this.#device.state.size : null;
  }

  /** The device is closed by its last user. */
  close(): void {
    this.reset();
    this.precopyInfoV2 = false;
  }

  /** The device is opened or reset. */
  reset(): void {
    this.endData();
    this.enter(RUNNING);
    this.#late = null;
  }

  /** The data fd is of no use any more. */
  endData(): void {
    this.#file?.disable();
    this.#file = null;
    this.#device.state.untrack();
  }

  /**
   * Goes to a state, over as many arcs as it takes. If an arc fails, the device
   * stays where the arc before it led. Returns the file that the last arc opened,
   * or null.
   */
  setState(target: number): DataFile | null {
    if (this.hopTo(target) === null) {
      this.#device.violate(`${v2StateName(target)} was asked for in ${v2StateName(this.#state)}`);
    }
    let made: DataFile | null = null;
    while (this.#state !== target) {
      const next = this.hopTo(target) ?? refuse("EINVAL");
      const { fails, lags, extra } = this.#faultyArc();
      const before = this.#state;
      made = this.takeArc(next);
      if (extra) made ??= this.#strayFile();
      this.enter(next);
      if (lags) this.#late = before;
      if (!fails) continue;
      this.#fail();
      return next === target ? made : refuse("EINVAL");
    }
    return made;
  }

  /** The next state on the way to a target; null if the transition is refused. */
  hopTo(target: number): number | null {
    return nextHop(this.#state, target, this.#driver.flags);
  }

  /** Strikes the faults of an arc that begins; returns those that take effect after it. */
  #faultyArc(): {
    /** Whether the device goes to ERROR. */
    readonly fails: boolean;
    /** Whether the next read of the state returns the old one. */
    readonly lags: boolean;
    /** Whether the arc returns a file even if none is due. */
    readonly extra: boolean;
  } {
    this.#device.elapse();
    const due = this.#device.faults.due("state-write");
    for (const { name, errno } of due) {
      if (AFTER_ARC.includes(name)) continue;
      if (name === "error-state") this.#fail();
      refuse(errno);
    }
    const [fails, lags, extra] = AFTER_ARC.map((one) => due.some(({ name }) => name === one));
    return { fails: fails!, lags: lags!, extra: extra! };
  }

  /** A file that cannot be used. */
  #strayFile(): DataFile {
    const file = new ResumeFile(this.#device, this.#driver);
    file.disable();
    return file;
  }

  #fail(): void {
    this.endData();
    this.enter(ERROR);
  }

  /** The driver takes one arc, after which the state is set; returns the file that it opened. */
  takeArc(to: number): DataFile | null {
    const from = this.#state;
    if (isPreCopy(to)) return isPreCopy(from) ? null : this.openSave(false);
    if (to === STOP_COPY) {
      if (!isPreCopy(from)) return this.openSave(true);
      (this.#file as SaveFile).stop();
      return null;
    }
    if (to === RESUMING) return this.openResume();
    if (from === RESUMING) (this.#file as ResumeFile | null)?.finish();
    this.endData();
    return null;
  }

  /** Opens the data fd of PRE_COPY, or of STOP_COPY. */
  openSave(stopped: boolean): SaveFile {
    const amount = { chunk: this.#chunk, stopped };
    const file = new SaveFile(this.#device, this, this.#driver, amount);
    this.#file = file;
    return file;
  }

  /** Opens the data fd of RESUMING. */
  openResume(): ResumeFile {
    const file = new ResumeFile(this.#device, this.#driver);
    this.#file = file;
    return file;
  }
}
