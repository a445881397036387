/**
 * The base class of a simulated v2 device's data fds (save and resume).
 */

import type { DriverDevice } from "../driver/driver_device.ts";
import { OpenFile } from "../os/open_file.ts";
import { refuse } from "../os/refusal.ts";
import type { Bytes } from "../os/bytes.ts";
import { sleepSync } from "../../kernel/process/sleep_sync.ts";

/**
 * The file behind a data fd: a stream without positions. It can be used until the
 * device leaves the states that it was opened for.
 */
export abstract class DataFile extends OpenFile {
  readonly label: string;
  protected readonly device: DriverDevice;
  #enabled = true;

  constructor(device: DriverDevice, label: string) {
    super();
    this.device = device;
    this.label = `${label} of ${device.name}`;
  }

  protected release(): void {
    // Memory only: the garbage collector frees it.
  }

  /** Whether the device is still in a state that the file was opened for. */
  get enabled(): boolean {
    return this.#enabled;
  }

  /** The device left these states. */
  disable(): void {
    this.#enabled = false;
  }

  /** Checks before any data is moved. Returns whether the call is to be interrupted halfway. */
  protected begin(verb: "read" | "written"): boolean {
    this.device.checkPresent();
    let interrupted = false;
    for (const { name, ms } of this.device.faults.due("transaction")) {
      if (name === "block") sleepSync(ms);
      else if (name === "eintr-partial") interrupted = true;
      else this.device.lose();
    }
    if (this.#enabled) return interrupted;
    this.device.violate(`${this.label} was ${verb} after the device had left its state`);
    return refuse("ENODEV");
  }

  override pread(_at: number, _into: Bytes): number {
    return this.#noPositions();
  }

  override pwrite(_at: number, _from: Bytes): number {
    return this.#noPositions();
  }

  #noPositions(): never {
    this.device.violate(`${this.label} was accessed by position; it is a stream`);
    return refuse("ESPIPE");
  }

  override read(_into: Bytes): number {
    return this.#wrongWay("read");
  }

  override write(_from: Bytes): number {
    return this.#wrongWay("written");
  }

  #wrongWay(verb: string): never {
    this.device.violate(`${this.label} was ${verb}`);
    return refuse("EBADF");
  }
}
