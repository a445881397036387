/**
 * Cleaning up after an error, which stays the error.
 *
 * @module
 */

const met = new WeakMap<object, unknown[]>();

/**
 * What cleaning up after an error met besides it: a failing unmap or close. Those of its causes
 * are among them.
 *
 * @example
 * ```ts
 * import { cleanupErrors, firstError } from "./cleanup.ts";
 * import assert from "node:assert/strict";
 *
 * try {
 *   using stack = new DisposableStack();
 *   stack.defer(() => {
 *     throw new Error("cannot close");
 *   });
 *   throw new Error("cannot start");
 * } catch (caught) {
 *   const error = firstError(caught) as Error;
 *   assert.equal(error.message, "cannot start");
 *   assert.deepEqual(cleanupErrors(error).map(({ message }) => message), ["cannot close"]);
 * }
 * ```
 */
export function cleanupErrors(error: unknown): readonly Error[] {
  const found = new Set<Error>();
  const seen = new Set<unknown>();
  for (let next = error; next instanceof Error && !seen.has(next); next = next.cause) {
    seen.add(next);
    for (const each of ownCleanupErrors(next)) found.add(each);
  }
  return [...found];
}

/**
 * The error that came first. A `using` block that fails, and whose end fails too, throws a
 * SuppressedError, which is of no class that anybody looks for; this is the one in it that the
 * block failed with, and what its end met is with {@linkcode cleanupErrors}.
 */
export function firstError(error: unknown): unknown {
  if (typeof SuppressedError === "undefined" || !(error instanceof SuppressedError)) return error;
  const first = firstError(error.suppressed);
  addCleanup(first, error.error);
  return first;
}

/** Those of an error itself, without its causes'. */
export function ownCleanupErrors(error: Error): readonly Error[] {
  return (met.get(error) ?? []).map((each) =>
    each instanceof Error ? each : new Error(String(each))
  );
}

/** Puts what cleaning up met beside the error that came first. */
export function addCleanup(first: unknown, later: unknown): void {
  const error = firstError(later);
  if (typeof first !== "object" || first === null || first === error) return;
  const more = error instanceof Error ? ownCleanupErrors(error) : [];
  met.set(first, [...met.get(first) ?? [], error, ...more]);
}

/** Runs something that cleans up after itself by `using`; the error that came first is thrown. */
export function cleanly<Value>(work: () => Value): Value {
  try {
    return work();
  } catch (error) {
    throw firstError(error);
  }
}

/** Runs something and then what cleans up after it, whatever came of it; the first error is thrown. */
export function cleanlyThen<Value>(work: () => Value, cleanUp: () => void): Value {
  return cleanly(() => {
    using stack = new DisposableStack();
    stack.defer(cleanUp);
    return work();
  });
}
