/**
 * Errors across threads: postMessage keeps a class no more than a stack of
 * its own, so an error goes over as its fields and comes back as its class.
 */

import { addCleanup, firstError, ownCleanupErrors } from "../../kernel/cleanup.ts";
import { SysError } from "../../kernel/error.ts";
import { SimSpecError } from "../../sim/spec.ts";
import { AnswerError } from "../../vfio/device/answer_error.ts";
import { CapabilityError } from "../../vfio/device/chain.ts";
import { DeviceNameError } from "../../vfio/open/device_name.ts";
import { OpenError } from "../../vfio/open/open_error.ts";
import { BusyError, UnsupportedError } from "../../vfio/reasons/unsupported.ts";
import { MigrationError } from "../error.ts";

interface ErrorClass {
  readonly name: string;
  readonly prototype: Error;
}

const CLASSES = new Map<string, ErrorClass>(
  ([
    SysError,
    SimSpecError,
    AnswerError,
    CapabilityError,
    DeviceNameError,
    BusyError,
    OpenError,
    UnsupportedError,
    MigrationError,
    RangeError,
    TypeError,
    Error,
  ] as ErrorClass[]).map((constructor) => [constructor.name, constructor]),
);

/** Lets errors of one more class come over as what they are. */
export function registerErrorClass(constructor: ErrorClass): void {
  CLASSES.set(constructor.name, constructor);
}

/** An error as plain data. */
export interface TransferredError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly cause: TransferredError | null;
  /** What cleaning up after it met. */
  readonly cleanup: readonly TransferredError[];
}

/** Takes an error apart. */
export function packError(thrown: unknown): TransferredError {
  const error = firstError(thrown);
  if (!(error instanceof Error)) return packError(new Error(String(error)));
  const { cause, ...fields } = { ...error } as Record<string, unknown>;
  return {
    name: error.name,
    message: error.message,
    stack: error.stack,
    fields,
    cause: (error.cause ?? cause) instanceof Error ? packError(error.cause ?? cause) : null,
    cleanup: ownCleanupErrors(error).map(packError),
  };
}

/** Puts an error together again, as an instance of its class. */
export function unpackError(transferred: TransferredError): Error {
  const error = new Error(transferred.message);
  Object.setPrototypeOf(error, (CLASSES.get(transferred.name) ?? Error).prototype);
  Object.defineProperty(error, "stack", {
    value: transferred.stack,
    configurable: true,
    writable: true,
  });
  if (transferred.cause !== null) {
    Object.defineProperty(error, "cause", {
      value: unpackError(transferred.cause),
      configurable: true,
      writable: true,
    });
  }
  for (const each of transferred.cleanup) addCleanup(error, unpackError(each));
  return Object.assign(error, transferred.fields);
}
