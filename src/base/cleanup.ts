/**
 * Keeps the first error the one that is thrown, and attaches the errors of its cleanup to it.
 *
 * @module
 */

const attached = new WeakMap<object, unknown[]>();

/**
 * The errors of the cleanup after an error, such as a failed unmap or close. They include those of
 * the error's causes.
 *
 * @example
 * ```ts
 * import { cleanupErrors, firstError } from "vfiokit";
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
 * The first of several errors. If a `using` block fails and its disposal fails too, the runtime
 * throws a SuppressedError, a class that no caller checks for. This function returns the error that
 * the block failed with; {@linkcode cleanupErrors} of it returns the errors of the disposal.
 */
export function firstError(error: unknown): unknown {
  if (typeof SuppressedError === "undefined" || !(error instanceof SuppressedError)) return error;
  const first = firstError(error.suppressed);
  addCleanup(first, error.error);
  return first;
}

/** The cleanup errors of an error itself, without those of its causes. */
export function ownCleanupErrors(error: Error): readonly Error[] {
  return (attached.get(error) ?? []).map((each) =>
    each instanceof Error ? each : new Error(String(each))
  );
}

/** Attaches a later error, from the cleanup, to the first error. */
export function addCleanup(first: unknown, later: unknown): void {
  const error = firstError(later);
  if (typeof first !== "object" || first === null || first === error) return;
  const more = error instanceof Error ? ownCleanupErrors(error) : [];
  attached.set(first, [...attached.get(first) ?? [], error, ...more]);
}

/** Runs a function that cleans up by `using`; throws the first error. */
export function cleanly<Value>(work: () => Value): Value {
  try {
    return work();
  } catch (error) {
    throw firstError(error);
  }
}

/** The same for a function that cleans up by `await using`. */
export async function cleanlyAsync<Value>(work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    throw firstError(error);
  }
}

/** Cleans up after an error; returns that error, with the error of the cleanup attached. */
export function cleanedUp(error: unknown, cleanUp: () => void): unknown {
  const first = firstError(error);
  try {
    cleanUp();
  } catch (later) {
    addCleanup(first, later);
  }
  return first;
}

/** The same for a cleanup that awaits. */
export async function cleanedUpAsync(
  error: unknown,
  cleanUp: () => PromiseLike<unknown>,
): Promise<unknown> {
  const first = firstError(error);
  try {
    await cleanUp();
  } catch (later) {
    addCleanup(first, later);
  }
  return first;
}

/** Runs a function, then `cleanUp` whether or not the function failed; throws the first error. */
export function cleanlyThen<Value>(work: () => Value, cleanUp: () => void): Value {
  let value: Value;
  try {
    value = work();
  } catch (error) {
    throw cleanedUp(error, cleanUp);
  }
  cleanly(cleanUp);
  return value;
}

/** The same for functions that await. */
export async function cleanlyThenAsync<Value>(
  work: () => Promise<Value>,
  cleanUp: () => PromiseLike<unknown>,
): Promise<Value> {
  let value: Value;
  try {
    value = await work();
  } catch (error) {
    throw await cleanedUpAsync(error, cleanUp);
  }
  await cleanlyAsync(async () => void await cleanUp());
  return value;
}
