/**
 * What both protocols do when a step fails: bring the device back, and say so
 * in the error.
 */

import { type Hint, VfiokitError } from "../../base/vfiokit_error.ts";
import { errnoText } from "../../kernel/errno_names.ts";
import { SysError } from "../../kernel/sys_error.ts";
import type { Counters, OnError, RecoveryMode } from "./engine.ts";
import { MigrationError, type MigrationErrorCode } from "../migration_error.ts";
import { describeRecovery, type Recovery } from "../../vfio/state/recovery.ts";
import { hintAfter } from "./reset.ts";
import type { StateName, StateReport } from "../../vfio/state/states.ts";

/** A driver that broke the protocol: what it did, and the stable word for it. */
export class DriverError extends VfiokitError {
  /** Always `DriverError`. */
  override readonly name = "DriverError";
  /** A stable word, such as `data-offset`. */
  readonly code: MigrationErrorCode;

  constructor(message: string, code: MigrationErrorCode, cause?: SysError) {
    super(message, { cause });
    this.code = code;
  }
}

/** What a driver means by an errno: in words, and the stable word for it. */
type Meaning = readonly [meaning: string, word: MigrationErrorCode];

/** Meanings, by the errno's name. */
export type Meanings = Readonly<Record<string, Meaning>>;

/** What ENODEV means on a data fd. */
export const GONE: Meaning = ["the device was reset or is gone", "io"];

/**
 * A data fd that cannot be read or written: what the driver means by the errno where that is
 * known, else that it did `what`.
 */
export function dataError(what: string, error: unknown, meanings: Meanings): unknown {
  if (!(error instanceof SysError)) return error;
  const { code } = error;
  if (Object.hasOwn(meanings, code)) {
    const [meaning, word] = meanings[code]!;
    return new DriverError(`${meaning} (${code})`, word, error);
  }
  const words = errnoText(error.errno);
  const said = words === "" ? code : `${code}, ${words}`;
  return new DriverError(`the driver ${what} (${said})`, "io", error);
}

/** Refuses a step out of other states than `from`: somebody else has reset the device then. */
export function demandStateIn(
  target: string,
  { state }: StateReport,
  from: readonly StateName[] | undefined,
): void {
  if (from === undefined || from.includes(state)) return;
  const left = from.join(" or ");
  throw new MigrationError(
    `Cannot enter ${target}: the device has left ${left} by itself, and is in ${state}`,
    { code: "left-state", deviceState: state, recovery: "none" },
  );
}

/** Runs the steps of phases, and recovers after one that failed. */
export class PhaseSteps {
  readonly #counters: Counters;
  readonly #recover: (way: RecoveryMode, onError?: OnError) => Recovery;
  readonly #read: () => StateName;

  /** `recover` brings the device back, `read` reads its state. */
  constructor(
    counters: Counters,
    recover: (way: RecoveryMode, onError?: OnError) => Recovery,
    read: () => StateName,
  ) {
    this.#counters = counters;
    this.#recover = recover;
    this.#read = read;
  }

  /** An error that says the state as last read; nothing is recovered. */
  error(message: string, code: MigrationErrorCode, cause?: Error, hint?: Hint): MigrationError {
    return new MigrationError(message, {
      code,
      deviceState: this.#counters.state,
      recovery: "none",
      errno: cause instanceof SysError ? cause.code : undefined,
      hint,
    }, { cause });
  }

  /** Refuses to begin a phase in a state that it does not begin in. Nothing is touched. */
  demandState(target: string, state: StateName, from: readonly StateName[]): void {
    if (from.includes(state)) return;
    if (state === "unknown") {
      throw this.left(this.error(`Cannot enter ${target}: the state cannot be read`, "unreadable"));
    }
    throw new MigrationError(
      `Cannot enter ${target}: the device is in ${state}, and the way there starts from ${
        from.join(", ")
      }`,
      {
        code: "wrong-state",
        deviceState: state,
        recovery: "none",
        hint: state === "running" ? null : {
          text: "bring it to RUNNING first, by a reset where no arc leads there",
          remedy: "reset",
        },
      },
    );
  }

  /** Runs a step of a phase; a failure ends the phase and brings the device back that way. */
  run<T>(what: string, step: () => T, way: RecoveryMode = "running"): T {
    try {
      return step();
    } catch (error) {
      if (error instanceof MigrationError) throw this.recovered(error, way);
      if (error instanceof DriverError) {
        const cause = error.cause instanceof SysError ? error.cause : error;
        throw this.recovered(this.error(`${what}: ${error.message}`, error.code, cause), way);
      }
      if (error instanceof SysError) {
        throw this.recovered(this.error(`${what}: ${error.message}`, "io", error), way);
      }
      throw error;
    }
  }

  /** Recovers nothing; a state that could not be read is read again before it is told. */
  left(error: MigrationError): MigrationError {
    if (error.deviceState !== "unknown") return error;
    const deviceState = this.#stateNow();
    const { message, code, recovery, errno, hint, cause } = error;
    return new MigrationError(`${message}; ${describeRecovery(recovery, deviceState)}`, {
      code,
      failure: message,
      deviceState,
      recovery,
      errno,
      hint,
    }, { cause });
  }

  /** The state, read afresh; twice where it cannot be read for once. */
  #stateNow(): StateName {
    const state = this.#read();
    return state === "unknown" ? this.#read() : state;
  }

  /** Brings the device back, and tells it in the error. */
  recovered(error: MigrationError, way: RecoveryMode, onError?: OnError): MigrationError {
    const recovery = this.#recover(way, onError);
    const deviceState = this.#stateNow();
    // What was advised for a state that the device is not in any more is done.
    const hint = hintAfter(recovery, deviceState) ??
      (error.deviceState === "running" ? error.hint : null);
    return new MigrationError(`${error.message}; ${describeRecovery(recovery, deviceState)}`, {
      code: error.code,
      failure: error.message,
      deviceState,
      recovery,
      errno: error.errno,
      hint,
    }, { cause: error.cause });
  }
}
