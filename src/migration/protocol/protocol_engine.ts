/**
 * What both protocols' engines have in common: phases that begin where they
 * may, steps that bring the device back when they fail.
 */

import type { Batch, BatchBuilder } from "../../checkpoint/batches/batch_builder.ts";
import type { Counters, Engine, OnError, PrecopyLimits, RecoveryMode } from "./engine.ts";
import { demandStateIn, PhaseSteps } from "./recovery.ts";
import { MigrationError } from "../migration_error.ts";
import type { Recovery } from "../../vfio/state/recovery.ts";
import type { Phase } from "../../checkpoint/batches/transaction.ts";
import type { Protocol, StateName, StateReport, TargetState } from "../../vfio/state/states.ts";

/** Errnos by which a driver judges the state that it was given; others tell of itself. */
const JUDGEMENTS: readonly string[] = ["EINVAL", "EFAULT", "ENOMEM"];

/** A protocol's state machine: the only one to change the device's state. */
export interface Machine<Target extends TargetState> {
  /** Reads the state; one that cannot be read is `unknown`, not an error. */
  state(): StateReport;
  /**
   * Goes to a state, where `from` is given out of one of those only: somebody else may have reset
   * the device meanwhile. A {@linkcode MigrationError} says where it came to. Nothing is recovered.
   */
  transition(target: Target, from?: readonly StateName[]): StateReport;
  /** Resets, and reads RUNNING back; `givesUp`: it waits no longer for a device that is not ready. */
  reset(givesUp: () => boolean): StateReport;
  /** Brings the device back to RUNNING; never throws. */
  recover(way?: RecoveryMode, onError?: OnError): Recovery;
}

/** A save under way. */
export interface Save {
  /** Fills a batch; true once the phase has ended. */
  fill(batch: BatchBuilder): boolean;
}

/** A restore under way. */
export interface Restore {
  /** Gives a batch to the driver. */
  load(batch: Batch): void;
}

/** An {@linkcode Engine} over a state machine; a protocol adds how its phases begin and end. */
export abstract class ProtocolEngine<Target extends TargetState> implements Engine {
  readonly #protocol: Protocol;
  readonly #machine: Machine<Target>;
  /** What the caller's thread sees. */
  protected readonly counters: Counters;
  /** Runs steps, and recovers after one that failed. */
  protected readonly steps: PhaseSteps;
  #phase: Phase | null = null;
  #save: Save | null = null;
  #restore: Restore | null = null;
  /** Whether a part of the state was read already, which stop-and-copy has to go on from. */
  #precopied = false;
  /** What was done since the last phase began. */
  #recovery: Recovery = "none";

  constructor(protocol: Protocol, machine: Machine<Target>, counters: Counters) {
    this.#protocol = protocol;
    this.#machine = machine;
    this.counters = counters;
    this.steps = new PhaseSteps(
      counters,
      (way, onError) => this.#bringBack(way, onError),
      () => this.#machine.state().state,
    );
  }

  /** States that a phase begins in; after pre-copy those in which what was read still counts. */
  protected abstract savesFrom(phase: Phase, precopied: boolean): readonly StateName[];

  /** The protocol's own name for a target; null where it has no such state. */
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
    // Who leads the device out of pre-copy does not go on from there.
    const precopying = this.#precopied &&
      this.#precopyStates.includes(this.#machine.state().state);
    try {
      const report = this.#machine.transition(name, from);
      if (precopying) this.#precopied = this.#precopyStates.includes(report.state);
      return report;
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      if (onError === "nothing") throw this.steps.left(error);
      // In ERROR, or unreadable, no arc leads on. Anywhere else the caller
      // asked for one state, and decides about the next.
      throw error.lost ? this.steps.recovered(error, "running", onError) : error;
    }
  }

  reset(): StateReport {
    this.#end();
    return this.#machine.reset(() => this.counters.interrupted);
  }

  recover(way: RecoveryMode = "running"): Recovery {
    const wasReset = this.#recovery === "reset" || this.#recovery === "reopened";
    if (way !== "reset" || !wasReset) this.#bringBack(way);
    return this.#recovery;
  }

  #bringBack(way: RecoveryMode, onError?: OnError): Recovery {
    this.#end();
    const recovery = this.#machine.recover(way, onError);
    // What brought it back before counts only as long as it is still there.
    if (recovery !== "none" || this.#machine.state().state !== "running") this.#recovery = recovery;
    return recovery;
  }

  /** Where a save goes on from pre-copy. */
  get #precopyStates(): readonly StateName[] {
    return this.savesFrom("stop-and-copy", true);
  }

  checkSave(phase: Phase): void {
    const { state } = this.#machine.state();
    const what = this.#precopied ? `${phase} after pre-copy` : phase;
    this.steps.demandState(what, state, this.savesFrom(phase, this.#precopied));
  }

  beginSave(phase: Phase, limits: PrecopyLimits): void {
    // What this ends in the midst of is brought back; before, nothing was touched.
    if (this.#precopied) this.steps.run(`Cannot enter ${phase}`, () => this.checkSave(phase));
    else this.checkSave(phase);
    this.#restart();
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
        if (this.#phase === "pre-copy") {
          // After a reset by somebody else a driver has nothing more to give, as at the end.
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

  load(batch: Batch): void {
    const restore = this.#restore;
    if (restore === null) throw new Error("Cannot load a batch: no restore is under way");
    this.steps.run("Cannot restore the device", () => restore.load(batch), "reset");
  }

  endRestore(leave: "running" | "stop"): void {
    if (this.#restore === null) throw new Error("Cannot end the restore: none is under way");
    // Whatever fails from here on, what was loaded must not run: its source may, already.
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
