/**
 * Turns the errno of a call that opens a device into an error that says why, and what to do.
 */

import type { ErrnoName } from "../../kernel/errno_names.ts";
import { SysError } from "../../kernel/sys_error.ts";
import {
  answered,
  type Cause,
  type CauseName,
  type CauseReason,
  CAUSES,
  holdersOf,
  type OpeningFailure,
  type Situation,
} from "./causes/mod.ts";
import { OPENING_ERRORS } from "./_opening_errors.ts";
import type { OpeningCall } from "./opening_call.ts";
import { blocks } from "../reasons/reason_kinds.ts";
import { OpenError } from "./open_error.ts";
import {
  BusyError,
  type Reason,
  type ReasonCode,
  UnsupportedError,
} from "../reasons/unsupported_error.ts";

export type { Situation } from "./causes/mod.ts";
export type { OpeningCall } from "./opening_call.ts";

/** The errors after which the other way to open a device may succeed. */
const otherWayMayHelp = new WeakSet<Error>();

/** Makes a call and explains its failure. */
export function opening<Value>(
  call: OpeningCall,
  situation: Situation,
  attempt: () => Value,
): Value {
  try {
    return attempt();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw explainOpening(call, error, situation);
  }
}

/** Explains how a call failed. */
export function explainOpening(call: OpeningCall, error: SysError, situation: Situation): Error {
  const failure: OpeningFailure = { ...situation, call, error };
  const named = OPENING_ERRORS[call][error.code as ErrnoName] ?? [];
  const seen = named.map((name) => ({ name, cause: CAUSES[name] as Cause }))
    .map((one) => ({ ...one, sure: look(one.cause, failure, named.length) }));
  const sure = seen.find((one) => one.sure === true);
  const possible = sure === undefined ? seen.filter((one) => one.sure === null) : [sure];
  const explained = possible.length > 0
    ? explain(possible, failure)
    : unknown(failure, seen.map(({ cause }) => cause));
  if (possible.length === 0 || possible.some(({ cause }) => cause.otherWay)) {
    otherWayMayHelp.add(explained);
  }
  return explained;
}

/** Whether opening the device the other way may help after this error. */
export function mayHelpOtherWay(error: unknown): error is UnsupportedError | OpenError {
  return (error instanceof UnsupportedError || error instanceof OpenError) &&
    otherWayMayHelp.has(error);
}

/** A cause without a check applies if it is the only one. */
function look(cause: Cause, failure: OpeningFailure, of: number): boolean | null {
  return cause.look === undefined ? (of === 1 ? true : null) : cause.look(failure);
}

interface Named {
  readonly name: CauseName;
  readonly cause: Cause;
}

function explain(causes: readonly Named[], failure: OpeningFailure): Error {
  const { error } = failure;
  const [{ name, cause: first }] = causes as readonly [Named];
  if (causes.length === 1 && first.kind === "busy") {
    const path = failure.path ?? error.object;
    const what = `${failure.call === "open group" ? "group" : "device"} ${path}`;
    return new BusyError(what, holdersOf(name, failure), { cause: error });
  }
  const reasons = causes.map(({ cause }) => cause.reason(failure));
  const told = reasons.length === 1 ? reasons.map(plain) : oneOf(reasons, failure);
  const failed = causes.every(({ cause }) => cause.kind !== "cannot");
  return failed
    ? new OpenError(told, { cause: error })
    : new UnsupportedError(told, { cause: error });
}

/** The reasons for a call with several possible causes: that it has several, and each of them. */
function oneOf(reasons: readonly CauseReason[], failure: OpeningFailure): Reason[] {
  const what = answered(failure);
  const whys = reasons.map(({ message, why }) => why === undefined ? message : capitalized(why));
  const list = whys.map((why, index) => `(${index + 1}) ${why}`).join("; ");
  return [
    blocks(
      refusedCode(failure),
      `${what}, and which of ${whys.length} causes it has cannot be seen from here: ${list}`,
      "",
    ),
    ...reasons.map((reason, index) => ({
      ...plain(reason),
      message: `Possible cause: ${whys[index]}`,
    })),
  ];
}

function plain({ why: _, ...reason }: CauseReason): Reason {
  return reason;
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function unknown(failure: OpeningFailure, ruledOut: readonly Cause[]): Error {
  const { error } = failure;
  const known = ruledOut.length === 0
    ? "Linux's own code is not known to answer that there"
    : "none of its known causes applies here";
  const reason = blocks(
    refusedCode(failure),
    `${answered(failure)}: ${known}`,
    "See the kernel's log (dmesg), where the device's driver may say why",
  );
  return ruledOut.length === 0
    ? new OpenError([reason], { cause: error })
    : new UnsupportedError([reason], { cause: error });
}

const CDEV_CALLS: readonly OpeningCall[] = [
  "open cdev",
  "open iommufd",
  "VFIO_DEVICE_BIND_IOMMUFD",
  "IOMMU_IOAS_ALLOC",
  "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
];

function refusedCode({ call }: OpeningFailure): ReasonCode {
  if (CDEV_CALLS.includes(call)) return "cdev-refused";
  return call === "read sysfs" || call === "VFIO_DEVICE_GET_INFO" || call === "connect"
    ? "open-refused"
    : "group-refused";
}
