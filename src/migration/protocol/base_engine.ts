/**
 * What {@linkcode Engine} has in common for both protocols: phases that begin only in allowed
 * states, and steps that bring the device back if they fail. V1Engine and V2Engine extend it.
 */

import type { BatchBuilder, FilledBatch } from "../../checkpoint/batches/batch_builder.ts";
import type { PrecopyReport } from "../../vfio/state/precopy_report.ts";
import type {
  Counters,
  Engine,
  OnError,
  PhaseTime,
  PrecopyLimits,
  RecoveryMode,
} from "./engine.ts";
import { demandStateIn, PhaseSteps } from "./recovery.ts";
import { MigrationError } from "../migration_error.ts";
import type { Recovery } from "../../vfio/state/recovery.ts";
import type { Phase } from "../../checkpoint/batches/transaction.ts";
import type { Protocol, StateName, StateReport, TargetState } from "../../vfio/state/states.ts";

/**
 * Errnos with which a driver rejects the state that it was given; others concern the driver itself.
 */
const JUDGEMENTS: readonly string[] = ["EINVAL", "EFAULT", "ENOMEM"];

/** The clock that all threads share. */
const now = (): number => performance.timeOrigin + performance.now();

/** A protocol's state machine: the only one to change the device's state. */
export interface Machine<Target extends TargetState> {
  /** Reads the state; `unknown` if it cannot be read. */
  state(): StateReport;
  /**
   * Goes to a state; with `from`, only from one of those states, since another process may have
   * reset the device. A {@linkcode MigrationError} has the state that was reached. Does not
   * recover.
   */
  transition(target: Target, from?: readonly StateName[]): StateReport;
  /** Resets and reads back RUNNING; `givesUp` ends the wait for a device that is not ready. */
  reset(givesUp: () => boolean): StateReport;
  /** Brings the device back to RUNNING; never throws. */
  recover(mode?: RecoveryMode, onError?: OnError): Recovery;
}

/** A save under way. */
export interface Save {
  /** Fills a batch; returns true once the phase has ended. */
  fill(batch: BatchBuilder): boolean;
  /** How pre-copy went, if that was the phase. */
  readonly precopy: PrecopyReport;
}

/** A restore under way. */
export interface Restore {
  /** Gives a batch to the driver. */
  load(batch: FilledBatch): void;
}

/** An {@linkcode Engine} over a state machine; a protocol adds how its phases begin and end. */
export abstract class BaseEngine<Target extends TargetState> implements Engine {
  readonly #protocol: Protocol;
  readonly #machine: Machine<Target>;
  /** The progress that the caller's thread sees. */
  protected readonly counters: Counters;
  /** Runs steps, and recovers after one that failed. */
  protected readonly steps: PhaseSteps;
  #phase: Phase | null = null;
  #save: Save | null = null;
  #restore: Restore | null = null;
  /** Whether a part of the state was read already, so that stop-and-copy must continue from it. */
  #precopied = false;
  /** The recovery since the last phase began. */
  #recovery: Recovery = "none";
  #precopyReport: PrecopyReport | null = null;
  #phaseTime: PhaseTime = { begun: 0, ended: 0 };

  constructor(protocol: Protocol, machine: Machine<Target>, counters: Counters) {
    this.#protocol = protocol;
    this.#machine = machine;
    this.counters = counters;
    this.steps = new PhaseSteps(
      counters,
      (mode, onError) => this.#bringBack(mode, onError),
      () => this.#machine.state().state,
    );
  }

  /**
   * States in which a phase begins; after pre-copy, those in which the data that was read still
   * counts.
   */
  protected abstract savesFrom(phase: Phase, precopied: boolean): readonly StateName[];

  /** The protocol's own name for a target; null if it has no such state. */
  protected abstract named(target: TargetState): Target | null;

  state(): StateReport {
    return this.#machine.state();
  }

  transition(
    target: TargetState,
    onError?: OnError | "nothing",
    from?: readonly StateName[],
  ): StateReport {
    const name = this.named(target);
    if (name === null) {
      this.#machine.state();
      const what = `Cannot enter ${target}: ${this.#protocol} has no such state`;
      throw this.steps.error(what, "no-such-state");
    }
    // A caller that leads the device out of pre-copy does not continue from there.
    const precopying = this.#precopied &&
      this.#precopyStates.includes(this.#machine.state().state);
    try {
      const report = this.#machine.transition(name, from);
      if (precopying) this.#precopied = this.#precopyStates.includes(report.state);
      return report;
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      if (onError === "nothing") throw this.steps.left(error);
      // In ERROR, or in an unreadable state, there is no arc. In any other state, the caller
      // decides what comes next.
      throw error.lost ? this.steps.recovered(error, "running", onError) : error;
    }
  }

  reset(): StateReport {
    this.#end();
    return this.#machine.reset(() => this.counters.interrupted);
  }

  recover(mode: RecoveryMode = "running"): Recovery {
    const wasReset = this.#recovery === "reset" || this.#recovery === "reopened";
    if (mode !== "reset" || !wasReset) this.#bringBack(mode);
    return this.#recovery;
  }

  #bringBack(mode: RecoveryMode, onError?: OnError): Recovery {
    this.#end();
    const recovery = this.#machine.recover(mode, onError);
    // An earlier recovery counts only while the device is still in that state.
    if (recovery !== "none" || this.#machine.state().state !== "running") this.#recovery = recovery;
    return recovery;
  }

  /** The states in which a save continues after pre-copy. */
  get #precopyStates(): readonly StateName[] {
    return this.savesFrom("stop-and-copy", true);
  }

  get phaseTime(): PhaseTime {
    return this.#phaseTime;
  }

  get precopyReport(): PrecopyReport | null {
    return this.#precopyReport;
  }

  checkSave(phase: Phase): void {
    const { state } = this.#machine.state();
    const what = this.#precopied ? `${phase} after pre-copy` : phase;
    this.steps.demandState(what, state, this.savesFrom(phase, this.#precopied));
  }

  beginSave(phase: Phase, limits: PrecopyLimits): void {
    // If a phase is under way, the device is brought back; otherwise nothing was touched.
    if (this.#precopied) this.steps.run(`Cannot enter ${phase}`, () => this.checkSave(phase));
    else this.checkSave(phase);
    if (!this.#precopied) this.#precopyReport = null;
    this.#restart();
    const begun = now();
    this.#phaseTime = { begun, ended: begun };
    this.steps.run(`Cannot enter ${phase}`, () => {
      this.#save = this.enterSave(phase, this.savesFrom(phase, this.#precopied), limits);
    });
    this.#phase = phase;
    this.#precopied = phase === "pre-copy";
  }

  /** Enters a phase from one of these states, and then opens what will read it. */
  protected abstract enterSave(
    phase: Phase,
    from: readonly StateName[],
    limits: PrecopyLimits,
  ): Save;

  fill(batch: BatchBuilder): boolean {
    const save = this.#save;
    if (save === null) return true;
    return this.steps.run(`Cannot save the device in ${this.#phase}`, () => {
      const ended = save.fill(batch);
      if (ended) {
        this.#phaseTime = { ...this.#phaseTime, ended: now() };
        if (this.#phase === "pre-copy") {
          this.#precopyReport = save.precopy;
          // After a reset by another process, a driver has no more data, as at the end.
          demandStateIn("stop-and-copy", this.#machine.state(), this.#precopyStates);
        } else this.#machine.transition("stop" as Target, [this.named("stop-and-copy")!]);
        this.#save = null;
      }
      return ended;
    });
  }

  abstract handOver(): void;

  abstract checkRestore(): void;

  beginRestore(): void {
    this.checkRestore();
    this.#restart();
    this.steps.run("Cannot enter resuming", () => {
      this.#machine.transition("resuming" as Target);
      this.#restore = this.enterRestore();
    });
  }

  /** Opens what will write to a device in RESUMING. */
  protected abstract enterRestore(): Restore;

  load(batch: FilledBatch): void {
    const restore = this.#restore;
    if (restore === null) throw new Error("Cannot load a batch: no restore is under way");
    this.steps.run("Cannot restore the device", () => restore.load(batch), "reset");
  }

  endRestore(leave: "running" | "stop"): void {
    if (this.#restore === null) throw new Error("Cannot end the restore: none is under way");
    // If anything fails from here on, the loaded state must not run: its source may be running
    // already.
    this.steps.run("Cannot end the restore", () => this.leaveRestore(leave), "reset");
    this.#restore = null;
  }

  /** Leaves RESUMING, along the protocol's own arcs. */
  protected abstract leaveRestore(leave: "running" | "stop"): void;

  /** The step out of RESUMING, where the driver judges what it was given. */
  protected judge(target: Target): void {
    try {
      this.#machine.transition(target, ["resuming"]);
    } catch (error) {
      if (!(error instanceof MigrationError) || error.code !== "transition-refused") throw error;
      throw this.steps.error(
        `Cannot end the restore: the driver does not take the state (${error.errno}), ` +
          "which may be cut short, or of another device",
        JUDGEMENTS.includes(error.errno ?? "") ? "state-refused" : "io",
        error.cause instanceof Error ? error.cause : error,
      );
    }
  }

  /** Counts from 0 again. */
  #restart(): void {
    this.#recovery = "none";
    this.counters.bytes = 0;
    this.counters.transactions = 0;
    this.counters.pendingBytes = -1;
  }

  #end(): void {
    this.#save = null;
    this.#restore = null;
    this.#precopied = false;
  }

  abstract [Symbol.dispose](): void;
}
