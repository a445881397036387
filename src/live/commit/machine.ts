/**
 * A state machine that is a table, and what runs it.
 *
 * @module
 */

/** What an event does in a state: the next state, and what is done on the way, in order. */
export interface Step<State extends string, Action extends string> {
  /** The state from now on. */
  readonly to: State;
  /** What is done, one after the other. If one fails, the rest is dropped. */
  readonly actions: readonly Action[];
}

/** The steps of every state. An event without a step is a mistake of the peer, or of the caller. */
export type StepTable<State extends string, Event extends string, Action extends string> = Readonly<
  Record<State, Readonly<Partial<Record<Event, Step<State, Action>>>>>
>;

/** How an action can fail, as the event that its machine then takes. */
export type Failure = "journal-failed" | "run-failed" | "reset-failed" | "cut";

/** An action, by what is done: a journal entry, a message, a change of the device. */
export type Action = `journal ${string}` | `send ${string}` | "run" | "reset";

/**
 * Returns the event that a failed action leads to.
 *
 * @example
 * ```ts
 * import { failureOf } from "./machine.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(failureOf("send commit"), "cut");
 * assert.equal(failureOf("run"), "run-failed");
 * ```
 */
export function failureOf(action: Action): Failure {
  if (action === "run") return "run-failed";
  if (action === "reset") return "reset-failed";
  return action.startsWith("journal ") ? "journal-failed" : "cut";
}

/** What a `journal` action enters. */
export function entryOf<Name extends string>(action: `journal ${Name}`): Name {
  return action.slice("journal ".length) as Name;
}

/** A machine, its state, and what performs its actions. */
export class CommitMachine<
  State extends string,
  Event extends string,
  Act extends Action,
> {
  readonly #table: StepTable<State, Event | Failure, Act>;
  readonly #perform: (action: Act) => Promise<void>;
  readonly #failed: (action: Act, error: unknown) => void;
  #state: State;
  #last: Promise<void> = Promise.resolve();

  /**
   * Makes the machine.
   *
   * @param table Its steps.
   * @param start Its first state.
   * @param perform Does an action; it fails by rejecting.
   * @param failed Is called with each action that failed.
   */
  constructor(
    table: StepTable<State, Event | Failure, Act>,
    start: State,
    perform: (action: Act) => Promise<void>,
    failed: (action: Act, error: unknown) => void,
  ) {
    this.#table = table;
    this.#state = start;
    this.#perform = perform;
    this.#failed = failed;
  }

  /** The state after all steps that have begun. */
  get state(): State {
    return this.#state;
  }

  /** Whether an event has a step in the present state. */
  expects(event: Event | Failure): boolean {
    return this.#table[this.#state][event] !== undefined;
  }

  /**
   * Takes an event, once all that came before have been dealt with. Resolves to the state that it
   * led to, failures of its actions included.
   *
   * @throws {RangeError} If the event has no step in that state.
   */
  take(event: Event | Failure): Promise<State> {
    const taken = this.#last.then(() => this.#step(event));
    this.#last = taken.then(() => {}, () => {});
    return taken;
  }

  async #step(first: Event | Failure): Promise<State> {
    let event: Event | Failure | null = first;
    while (event !== null) {
      const step: Step<State, Act> | undefined = this.#table[this.#state][event];
      if (step === undefined) {
        throw new RangeError(`Cannot take "${event}" in the state "${this.#state}"`);
      }
      this.#state = step.to;
      event = await this.#performAll(step.actions);
    }
    return this.#state;
  }

  /** Returns the event of the first action that failed; null if none did, or none matters. */
  async #performAll(actions: readonly Act[]): Promise<Failure | null> {
    for (const action of actions) {
      try {
        await this.#perform(action);
      } catch (error) {
        this.#failed(action, error);
        const failure = failureOf(action);
        // A state without a step for it goes on: the failure makes no difference there.
        if (this.#table[this.#state][failure] !== undefined) return failure;
      }
    }
    return null;
  }
}
