/**
 * Turns the errno of a call that opens a device into an error that says why, and what to do.
 */

import type { ErrnoName } from "../../kernel/errno_names.ts";
import { SysError } from "../../kernel/sys_error.ts";
import {
  answered,
  type Cause,
  type CauseName,
  CAUSES,
  type Failure,
  holdersOf,
  type Situation,
} from "./_opening_causes.ts";
import { OPENING_ERRORS } from "./_opening_errors.ts";
import type { OpeningCall } from "./_opening_call.ts";
import { blocks } from "../reasons/reason.ts";
import { OpenError } from "./open_error.ts";
import {
  BusyError,
  type Reason,
  type ReasonCode,
  UnsupportedError,
} from "../reasons/unsupported.ts";

export type { Situation } from "./_opening_causes.ts";
export type { OpeningCall } from "./_opening_call.ts";

/** An error that says why, and whether opening the device the other way may help. */
export interface Explained {
  readonly error: Error;
  readonly otherWay: boolean;
}

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
    throw explainOpening(call, error, situation).error;
  }
}

/** Explains how a call failed. */
export function explainOpening(
  call: OpeningCall,
  error: SysError,
  situation: Situation,
): Explained {
  const failure: Failure = { ...situation, call, error };
  const named = OPENING_ERRORS[call][error.code as ErrnoName] ?? [];
  const seen = named.map((name) => ({ name, cause: CAUSES[name] as Cause }))
    .map((one) => ({ ...one, sure: look(one.cause, failure, named.length) }));
  const sure = seen.find((one) => one.sure === true);
  const perhaps = seen.filter((one) => one.sure === null);
  const only = sure ?? (perhaps.length === 1 ? perhaps[0] : undefined);
  if (only !== undefined) return explained([only], failure);
  if (perhaps.length > 1) return explained(perhaps, failure);
  return unknown(failure, seen.map(({ cause }) => cause));
}

/** A cause without a check applies if it is the only one. */
function look(cause: Cause, failure: Failure, of: number): boolean | null {
  return cause.look === undefined ? (of === 1 ? true : null) : cause.look(failure);
}

interface Named {
  readonly name: CauseName;
  readonly cause: Cause;
}

function explained(causes: readonly Named[], failure: Failure): Explained {
  const { error } = failure;
  const otherWay = causes.some(({ cause }) => cause.otherWay);
  const [{ name, cause: first }] = causes as readonly [Named];
  if (causes.length === 1 && first.kind === "busy") {
    const path = failure.path ?? error.object;
    const what = `${failure.call === "open group" ? "group" : "device"} ${path}`;
    return { error: new BusyError(what, holdersOf(name, failure), { cause: error }), otherWay };
  }
  const reasons = causes.map(({ cause }) => cause.reason(failure));
  const told = reasons.length === 1 ? reasons : eachPerhaps(reasons, failure);
  const failed = causes.every(({ cause }) => cause.kind !== "cannot");
  return {
    error: failed
      ? new OpenError(told, { cause: error })
      : new UnsupportedError(told, { cause: error }),
    otherWay,
  };
}

/** What a call that has several causes is told as: that it has, and each of them. */
function eachPerhaps(reasons: readonly Reason[], failure: Failure): Reason[] {
  const what = answered(failure);
  const whys = reasons.map(({ message }) =>
    message.startsWith(`${what}: `) ? message.slice(what.length + 2) : message
  );
  const open = `${what}, and which of its causes it is cannot be seen from here: ${
    whys.join("; or ")
  }`;
  return [
    blocks(refusedCode(failure), open, ""),
    ...reasons.map((reason, index) => ({ ...reason, message: `Perhaps ${whys[index]}` })),
  ];
}

function unknown(failure: Failure, ruledOut: readonly Cause[]): Explained {
  const { error } = failure;
  const known = ruledOut.length === 0
    ? "Linux's own code is not known to answer that there"
    : "none of the causes that it is known to have can be seen";
  const reason = blocks(
    refusedCode(failure),
    `${answered(failure)}: ${known}`,
    "See the kernel's log (dmesg), where the device's driver may say why",
  );
  return {
    error: ruledOut.length === 0
      ? new OpenError([reason], { cause: error })
      : new UnsupportedError([reason], { cause: error }),
    otherWay: true,
  };
}

const CDEV_CALLS: readonly OpeningCall[] = [
  "open cdev",
  "open iommufd",
  "VFIO_DEVICE_BIND_IOMMUFD",
  "IOMMU_IOAS_ALLOC",
  "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
];

function refusedCode({ call }: Failure): ReasonCode {
  if (CDEV_CALLS.includes(call)) return "cdev-refused";
  return call === "read sysfs" || call === "VFIO_DEVICE_GET_INFO"
    ? "open-refused"
    : "group-refused";
}
