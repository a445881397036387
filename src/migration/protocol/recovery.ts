/**
 * What both protocols do if a step fails: bring the device back, and report that in the error.
 */

import { type Hint, VfiokitError } from "../../base/vfiokit_error.ts";
import { errnoText } from "../../kernel/errno_names.ts";
import { SysError } from "../../kernel/sys_error.ts";
import type { Counters, OnError, RecoveryMode } from "./engine.ts";
import { MigrationError, type MigrationErrorCode, stepError } from "../migration_error.ts";
import { describeRecovery, type Recovery } from "../../vfio/state/recovery.ts";
import { hintAfter } from "./reset.ts";
import type { StateName, StateReport } from "../../vfio/state/states.ts";

/** A driver's violation of the protocol, with a code. */
export class DriverError extends VfiokitError {
  /** Always `DriverError`. */
  override readonly name = "DriverError";
  /** The code, such as `data-offset`. */
  readonly code: MigrationErrorCode;

  constructor(message: string, code: MigrationErrorCode, cause?: SysError) {
    super(message, { cause });
    this.code = code;
  }
}

/** What a driver means by an errno: a text and a code. */
type Meaning = readonly [meaning: string, word: MigrationErrorCode];

/** Meanings, by the errno's name. */
export type Meanings = Readonly<Record<string, Meaning>>;

/** The meaning of ENODEV on a data fd. */
export const GONE: Meaning = ["the device was reset or is gone", "io"];

/**
 * The error of a data fd that cannot be read or written: what the driver means by the errno if that
 * is known, else `what`.
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

/** Throws if the state is none of `from`: then another process has reset the device. */
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

/** Runs the steps of phases, and recovers after a failed one. */
export class PhaseSteps {
  readonly #counters: Counters;
  readonly #recover: (mode: RecoveryMode, onError?: OnError) => Recovery;
  readonly #read: () => StateName;

  /** `recover` brings the device back, `read` reads its state. */
  constructor(
    counters: Counters,
    recover: (mode: RecoveryMode, onError?: OnError) => Recovery,
    read: () => StateName,
  ) {
    this.#counters = counters;
    this.#recover = recover;
    this.#read = read;
  }

  /** Makes an error with the last read state; does not recover. */
  error(message: string, code: MigrationErrorCode, cause?: Error, hint?: Hint): MigrationError {
    return stepError(message, code, this.#counters.state, { cause, hint });
  }

  /** Throws if a phase may not begin in the present state. Touches nothing. */
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

  /** Runs a step of a phase; a failure ends the phase and brings the device back. */
  run<T>(what: string, step: () => T, mode: RecoveryMode = "running"): T {
    try {
      return step();
    } catch (error) {
      if (error instanceof MigrationError) throw this.recovered(error, mode);
      if (error instanceof DriverError) {
        const cause = error.cause instanceof SysError ? error.cause : error;
        throw this.recovered(this.error(`${what}: ${error.message}`, error.code, cause), mode);
      }
      if (error instanceof SysError) {
        throw this.recovered(this.error(`${what}: ${error.message}`, "io", error), mode);
      }
      throw error;
    }
  }

  /** Does not recover; an unreadable state is read once more before it is reported. */
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

  /** Reads the state; twice if the first read fails. */
  #stateNow(): StateName {
    const state = this.#read();
    return state === "unknown" ? this.#read() : state;
  }

  /** Brings the device back, and adds that to the error. */
  recovered(error: MigrationError, mode: RecoveryMode, onError?: OnError): MigrationError {
    const recovery = this.#recover(mode, onError);
    const deviceState = this.#stateNow();
    // The hint for the earlier state no longer applies.
    const hint = hintAfter(recovery, deviceState, error.errno) ??
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
