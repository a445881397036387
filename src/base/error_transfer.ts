/**
 * Carries errors from one thread to another. postMessage keeps only an error's message and stack,
 * so an error is sent as its fields and gets its class back on arrival.
 *
 * @module
 */

import { addCleanup, firstError, ownCleanupErrors } from "./cleanup.ts";

/** A class of errors. */
interface ErrorClass {
  readonly name: string;
  readonly prototype: Error;
}

const CLASSES = new Map<string, ErrorClass>(
  [Error, RangeError, TypeError].map((each) => [each.name, each]),
);

/** Lets the errors of a class keep it across threads; their `name` is the name of the class. */
export function registerErrorClass(constructor: ErrorClass): void {
  CLASSES.set(constructor.name, constructor);
}

/** An error as plain data. */
export interface TransferredError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly fields: unknown;
  readonly cause: TransferredError | null;
  /** The errors of the cleanup after it. */
  readonly cleanup: readonly TransferredError[];
}

/** Takes an error apart. */
export function packError(thrown: unknown): TransferredError {
  const error = firstError(thrown);
  if (!(error instanceof Error)) return packError(new Error(String(error)));
  // The class's own `cause` is a field in some runtimes, and a hidden property in others.
  const { cause = error.cause, ...fields } = { ...error } as Record<string, unknown>;
  return {
    name: error.name,
    message: error.message,
    stack: error.stack,
    fields: pack(fields),
    cause: cause instanceof Error ? packError(cause) : null,
    cleanup: ownCleanupErrors(error).map(packError),
  };
}

/** Puts an error together again, as an instance of its class. */
export function unpackError(transferred: TransferredError): Error {
  const { name, message, stack, fields, cause, cleanup } = transferred;
  const error = new Error(message);
  const known = CLASSES.get(name);
  if (known === undefined) hidden(error, "name", name);
  else Object.setPrototypeOf(error, known.prototype);
  hidden(error, "stack", stack);
  if (cause !== null) hidden(error, "cause", unpackError(cause));
  for (const each of cleanup) addCleanup(error, unpackError(each));
  // Not by assignment: in Bun every error has a hidden `line`, which would stay hidden.
  for (const [name, value] of Object.entries(unpack(fields) as object)) {
    Object.defineProperty(error, name, {
      value,
      configurable: true,
      enumerable: true,
      writable: true,
    });
  }
  return error;
}

function hidden(error: Error, name: string, value: unknown): void {
  Object.defineProperty(error, name, { value, configurable: true, writable: true });
}

/** Marks an error within the fields of another. */
const MARK = "vfiokit:error";

function pack(value: unknown): unknown {
  return value instanceof Error ? { [MARK]: packError(value) } : mapPlain(value, pack);
}

function unpack(value: unknown): unknown {
  return typeof value === "object" && value !== null && MARK in value
    ? unpackError(value[MARK] as TransferredError)
    : mapPlain(value, unpack);
}

/** Maps the elements of an array and the properties of a plain object; returns the rest as it is. */
function mapPlain(value: unknown, map: (value: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map(map);
  if (typeof value !== "object" || value === null) return value;
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, map(each)]));
}
