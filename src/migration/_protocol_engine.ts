/**
 * What both protocols' engines have in common: phases that begin where they
 * may, steps that bring the device back when they fail.
 */

import type { Batch, BatchBuilder } from "./_batch.ts";
import type { Counters, Engine, OnError, PrecopyLimits, WayBack } from "./_engine.ts";
import { Guard } from "./_guard.ts";
import { MigrationError, type Recovery } from "./error.ts";
import type { Phase, Protocol, StateReport, TargetState } from "./types.ts";

/** A protocol's state machine: the only one to change the device's state. */
export interface Machine<Target extends TargetState> {
  /** Reads the state; one that cannot be read is `unknown`, not an error. */
  state(): StateReport;
  /** Goes to a state; a {@linkcode MigrationError} says where it came to. Nothing is recovered. */
  transition(target: Target): StateReport;
  /** Resets, and reads RUNNING back. */
  reset(): StateReport;
  /** Brings the device back to RUNNING; never throws. */
  recover(way?: WayBack, onError?: OnError): Recovery;
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
  protected readonly guard: Guard;
  #phase: Phase | null = null;
  #save: Save | null = null;
  #restore: Restore | null = null;
  /** What was done since the last phase began. */
  #recovery: Recovery = "none";

  constructor(protocol: Protocol, machine: Machine<Target>, counters: Counters) {
    this.#protocol = protocol;
    this.#machine = machine;
    this.counters = counters;
    this.guard = new Guard(counters, (onError) => this.#bringBack("running", onError));
  }

  /** The protocol's own name for a target; null where it has no such state. */
  protected abstract named(target: TargetState): Target | null;

  state(): StateReport {
    return this.#machine.state();
  }

  transition(target: TargetState, onError?: OnError): StateReport {
    const name = this.named(target);
    if (name === null) {
      this.#machine.state();
      const what = `Cannot enter ${target}: ${this.#protocol} has no such state`;
      throw this.guard.error(what, "no-such-state");
    }
    try {
      return this.#machine.transition(name);
    } catch (error) {
      // In ERROR, or unreadable, no arc leads on. Anywhere else the caller
      // asked for one state, and decides about the next.
      if (error instanceof MigrationError && error.lost) {
        throw this.guard.recovered(error, onError);
      }
      throw error;
    }
  }

  reset(): StateReport {
    this.#end();
    return this.#machine.reset();
  }

  recover(way: WayBack = "running"): Recovery {
    if (way !== "reset" || this.#recovery !== "reset") this.#bringBack(way);
    return this.#recovery;
  }

  #bringBack(way: WayBack, onError?: OnError): Recovery {
    this.#end();
    const recovery = this.#machine.recover(way, onError);
    if (recovery !== "none") this.#recovery = recovery;
    return recovery;
  }

  abstract checkSave(phase: Phase): void;

  abstract beginSave(phase: Phase, limits: PrecopyLimits): void;

  /** Enters a phase, and then opens what will read it. */
  protected enterSave(phase: Phase, target: Target, open: () => Save): void {
    this.guard.run(`Cannot enter ${phase}`, () => this.#machine.transition(target));
    this.#phase = phase;
    this.#save = open();
  }

  fill(batch: BatchBuilder): boolean {
    const save = this.#save;
    if (save === null) return true;
    return this.guard.run(`Cannot save the device in ${this.#phase}`, () => {
      const ended = save.fill(batch);
      if (ended) {
        if (this.#phase === "stop-and-copy") this.#machine.transition("stop" as Target);
        this.#save = null;
      }
      return ended;
    });
  }

  abstract handOver(): void;

  abstract checkRestore(): void;

  abstract beginRestore(): void;

  /** Enters RESUMING, and then opens what will write to it. */
  protected enterRestore(open: () => Restore): void {
    this.guard.run("Cannot enter resuming", () => this.#machine.transition("resuming" as Target));
    this.#restore = open();
  }

  load(batch: Batch): void {
    const restore = this.#restore;
    if (restore === null) throw new Error("Cannot load a batch: no restore is under way");
    this.guard.run("Cannot restore the device", () => restore.load(batch));
  }

  endRestore(leave: "running" | "stop"): void {
    if (this.#restore === null) throw new Error("Cannot end the restore: none is under way");
    this.guard.run("Cannot end the restore", () => this.leaveRestore(leave));
    this.#restore = null;
  }

  /** Leaves RESUMING, along the protocol's own arcs. */
  protected abstract leaveRestore(leave: "running" | "stop"): void;

  /** Counts from 0 again. */
  protected restart(): void {
    this.#recovery = "none";
    this.counters.bytes = 0;
    this.counters.transactions = 0;
    this.counters.pendingBytes = -1;
  }

  #end(): void {
    this.#save = null;
    this.#restore = null;
  }

  abstract [Symbol.dispose](): void;
}
