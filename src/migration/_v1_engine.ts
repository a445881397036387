/**
 * The v1 protocol on one device: registers, data section, state machine and
 * loops put together, and what is done when one of them fails.
 */

import type { VfioDevice } from "../vfio/device.ts";
import type { QuirkName } from "../vfio/quirk.ts";
import type { Region } from "../vfio/region.ts";
import type { Batch, BatchBuilder } from "./_batch.ts";
import type { Counters, Engine, OnError, PrecopyLimits } from "./_engine.ts";
import { DriverError, Guard } from "./_guard.ts";
import { V1DataSection } from "./_v1_data_section.ts";
import { isV1Target, V1Machine } from "./_v1_machine.ts";
import { NO_QUIRK, QUIRKS } from "./_v1_quirks.ts";
import { V1Registers } from "./_v1_registers.ts";
import { V1Restore } from "./_v1_restore.ts";
import { V1Save } from "./_v1_save.ts";
import { MigrationError, type Recovery } from "./error.ts";
import type { Phase, StateName, StateReport, TargetState } from "./types.ts";

const SAVE_FROM: readonly StateName[] = ["running", "pre-copy", "stop-and-copy", "stop"];
const RESTORE_FROM: readonly StateName[] = ["running", "stop", "resuming"];

/** The v1 {@linkcode Engine}. */
export class V1Engine implements Engine {
  readonly #registers: V1Registers;
  readonly #device: VfioDevice;
  readonly #region: Region;
  readonly #machine: V1Machine;
  readonly #counters: Counters;
  readonly #guard: Guard;
  readonly #quirk;
  #data: V1DataSection | null = null;
  #phase: Phase | null = null;
  #save: V1Save | null = null;
  #restore: V1Restore | null = null;

  constructor(
    device: VfioDevice,
    region: Region,
    quirk: QuirkName | null,
    onError: OnError,
    counters: Counters,
  ) {
    this.#device = device;
    this.#region = region;
    this.#counters = counters;
    this.#quirk = quirk === null ? NO_QUIRK : QUIRKS[quirk];
    this.#registers = new V1Registers(device.kernel, device.fd.number, Number(region.offset));
    this.#machine = new V1Machine(this.#registers, device, this.#quirk, onError, counters);
    this.#guard = new Guard(counters, (how) => this.recover(how));
  }

  /** Mapped at the first phase that moves data, and kept for the next. */
  get #section(): V1DataSection {
    return this.#data ??= new V1DataSection(
      this.#device.kernel,
      this.#device.fd.number,
      this.#region,
    );
  }

  state(): StateReport {
    return this.#machine.state();
  }

  transition(target: TargetState, onError?: OnError): StateReport {
    if (!isV1Target(target)) {
      this.#machine.state();
      throw this.#guard.error(`Cannot enter ${target}: v1 has no such state`, "no-such-state");
    }
    try {
      return this.#machine.transition(target);
    } catch (error) {
      // In ERROR, or unreadable, no arc leads on. Anywhere else the caller
      // asked for one step, and decides about the next.
      if (error instanceof MigrationError && error.lost) {
        throw this.#guard.recovered(error, onError);
      }
      throw error;
    }
  }

  reset(): StateReport {
    return this.#machine.reset();
  }

  recover(onError?: OnError): Recovery {
    this.#save = null;
    this.#restore = null;
    return this.#machine.recover(onError);
  }

  beginSave(phase: Phase, limits: PrecopyLimits): void {
    this.#guard.demandState(phase, this.#machine.state().state, SAVE_FROM);
    this.#restart();
    this.#guard.run(`Cannot enter ${phase}`, () => this.#machine.transition(phase));
    this.#phase = phase;
    this.#save = new V1Save(
      this.#registers,
      this.#section,
      Number(this.#region.size),
      this.#quirk,
      this.#counters,
      phase,
      limits,
    );
  }

  fill(batch: BatchBuilder): boolean {
    const save = this.#save;
    if (save === null) return true;
    return this.#guard.run(`Cannot save the device in ${this.#phase}`, () => {
      const ended = save.fill(batch);
      if (ended) {
        if (this.#phase === "stop-and-copy") this.#machine.transition("stop");
        this.#save = null;
      }
      return ended;
    });
  }

  beginRestore(): void {
    this.#guard.demandState("resuming", this.#machine.state().state, RESTORE_FROM);
    this.#restart();
    this.#guard.run("Cannot enter resuming", () => this.#machine.transition("resuming"));
    this.#restore = new V1Restore(
      this.#registers,
      this.#section,
      Number(this.#region.size),
      this.#counters,
    );
  }

  load(batch: Batch): void {
    const restore = this.#restore;
    if (restore === null) throw new Error("Cannot load a batch: no restore is under way");
    this.#guard.run("Cannot restore the device", () => restore.load(batch));
  }

  endRestore(leave: "running" | "stop"): void {
    const restore = this.#restore;
    if (restore === null) throw new Error("Cannot end the restore: none is under way");
    this.#guard.run("Cannot end the restore", () => {
      if (restore.inside) {
        throw new DriverError("the last transaction is not whole", "transaction-cut");
      }
      // v1 has no arc from RESUMING to a stopped device.
      this.#machine.transition("running");
      if (leave === "stop") this.#machine.transition("stop");
    });
    this.#restore = null;
  }

  [Symbol.dispose](): void {
    this.#data?.[Symbol.dispose]();
    this.#data = null;
  }

  #restart(): void {
    this.#counters.bytes = 0;
    this.#counters.transactions = 0;
    this.#counters.pendingBytes = -1;
  }
}
