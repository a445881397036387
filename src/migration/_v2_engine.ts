/**
 * The v2 protocol on one device: state machine, data fd and loops put together.
 */

import { VFIO_MIGRATION_PRE_COPY } from "../uapi/mod.ts";
import type { VfioDevice } from "../vfio/device.ts";
import type { Batch, BatchBuilder } from "./_batch.ts";
import type { Counters, Engine, OnError, PrecopyLimits } from "./_engine.ts";
import { Guard } from "./_guard.ts";
import { V2Machine, v2Target } from "./_v2_machine.ts";
import { V2Restore } from "./_v2_restore.ts";
import { V2Save } from "./_v2_save.ts";
import { MigrationError, type Recovery } from "./error.ts";
import type { Phase, StateName, StateReport, TargetState } from "./types.ts";

const PRECOPY_FROM: readonly StateName[] = ["running", "running-p2p", "pre-copy", "pre-copy-p2p"];
/** States in which a save is under way: whoever brought the device there has its data fd. */
const HOLDING_DATA: readonly StateName[] = ["pre-copy", "pre-copy-p2p"];
const SAVE_FROM: readonly StateName[] = [...PRECOPY_FROM, "stop"];
const RESTORE_FROM: readonly StateName[] = ["running", "running-p2p", "stop"];

/** The v2 {@linkcode Engine}. */
export class V2Engine implements Engine {
  readonly #device: VfioDevice;
  readonly #flags: number;
  readonly #machine: V2Machine;
  readonly #counters: Counters;
  readonly #guard: Guard;
  #phase: Phase | null = null;
  #save: V2Save | null = null;
  #restore: V2Restore | null = null;

  /** `flags` are the device's VFIO_MIGRATION_* flags. */
  constructor(device: VfioDevice, flags: number, onError: OnError, counters: Counters) {
    this.#device = device;
    this.#flags = flags;
    this.#counters = counters;
    this.#machine = new V2Machine(device, flags, onError, counters);
    this.#guard = new Guard(counters, (how) => this.recover(how));
  }

  state(): StateReport {
    return this.#machine.state();
  }

  transition(target: TargetState, onError?: OnError): StateReport {
    const name = v2Target(target);
    if (name === null) {
      this.#machine.state();
      throw this.#guard.error(`Cannot enter ${target}: v2 has no such state`, "no-such-state");
    }
    try {
      return this.#machine.transition(name);
    } catch (error) {
      // In ERROR, or unreadable, no arc leads on. Anywhere else the caller
      // asked for one state, and decides about the next.
      if (error instanceof MigrationError && error.lost) {
        throw this.#guard.recovered(error, onError);
      }
      throw error;
    }
  }

  reset(): StateReport {
    this.#end();
    return this.#machine.reset();
  }

  recover(onError?: OnError): Recovery {
    this.#end();
    return this.#machine.recover(onError);
  }

  beginSave(phase: Phase, limits: PrecopyLimits): void {
    const { state } = this.#machine.state();
    this.#guard.demandState(phase, state, phase === "pre-copy" ? PRECOPY_FROM : SAVE_FROM);
    if (phase === "pre-copy" && (this.#flags & VFIO_MIGRATION_PRE_COPY) === 0) {
      throw this.#guard.error(
        "Cannot enter pre-copy: the driver does not offer it (VFIO_MIGRATION_PRE_COPY)",
        "no-precopy",
      );
    }
    if (HOLDING_DATA.includes(state) && !this.#machine.hasData) {
      throw this.#guard.error(
        `Cannot enter ${phase}: the device is in ${state}, and the data fd is another process's`,
        "no-data-fd",
      );
    }
    this.#restart();
    const estimate = phase === "stop-and-copy" ? this.#machine.dataSize() : null;
    this.#counters.pendingBytes = estimate ?? -1;
    this.#guard.run(`Cannot enter ${phase}`, () => {
      this.#machine.transition(phase === "pre-copy" ? "pre-copy" : "stop-copy");
    });
    this.#phase = phase;
    this.#save = new V2Save(
      this.#device.kernel,
      this.#machine.data,
      this.#counters,
      phase,
      limits,
      estimate,
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
    this.#restore = new V2Restore(this.#device.kernel, this.#machine.data, this.#counters);
  }

  load(batch: Batch): void {
    const restore = this.#restore;
    if (restore === null) throw new Error("Cannot load a batch: no restore is under way");
    this.#guard.run("Cannot restore the device", () => restore.load(batch));
  }

  endRestore(leave: "running" | "stop"): void {
    if (this.#restore === null) throw new Error("Cannot end the restore: none is under way");
    this.#guard.run("Cannot end the restore", () => {
      this.#judge();
      if (leave === "running") this.#machine.transition("running");
    });
    this.#restore = null;
  }

  /** The step to STOP, where the driver judges what it was given. */
  #judge(): void {
    try {
      this.#machine.transition("stop");
    } catch (error) {
      if (!(error instanceof MigrationError) || error.deviceState !== "resuming") throw error;
      throw this.#guard.error(
        `Cannot end the restore: the driver does not take the state (${error.errno}), ` +
          "which may be cut short, or of another device",
        "state-refused",
        error.cause instanceof Error ? error.cause : error,
      );
    }
  }

  [Symbol.dispose](): void {
    this.#end();
    this.#machine.closeData();
  }

  #end(): void {
    this.#save = null;
    this.#restore = null;
  }

  #restart(): void {
    this.#counters.bytes = 0;
    this.#counters.transactions = 0;
    this.#counters.pendingBytes = -1;
  }
}
