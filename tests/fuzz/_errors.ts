/**
 * What an error must be like, whatever was done to the product.
 */

import { isDocumented } from "./_documented_errors.ts";
import { Find } from "./_kind.ts";

/** Words that tell of something unfinished, in a message or on a terminal. */
const NONSENSE =
  /(?<![-\w])undefined\b|\[object |\bNaN\b|^\s+at .*:\d+:\d+\)?$|suppressed during disposal/m;
/** What a terminal would obey. */
// deno-lint-ignore no-control-regex -- just those
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;

/** What is unfinished in a text; null where nothing is. */
export function nonsense(text: string): string | null {
  const found = NONSENSE.exec(text);
  return found === null ? null : JSON.stringify(found[0].trim());
}

/** What a terminal would obey in a text; null where nothing is. */
export function control(text: string): string | null {
  const found = CONTROL.exec(text);
  return found === null ? null : JSON.stringify(found[0]);
}

/**
 * Sees to it that an error is one of those that the documentation names, and fit to be read.
 *
 * @param also What the caller itself has given, such as the reason of an abort, and classes that
 * tell of a mistake of the caller's.
 * @throws {Find} If it is not.
 */
export function checkError(
  error: unknown,
  also: readonly unknown[] = [],
  what = "it",
): asserts error is Error {
  const kinds = also.filter((one) => typeof one === "function") as (new () => Error)[];
  if (error instanceof Find) throw error;
  const known = isDocumented(error) || also.includes(error) ||
    kinds.some((kind) => error instanceof kind);
  if (!known) {
    throw new Find("undocumented error", `${what} failed with ${describe(error)}`, {
      cause: error,
    });
  }
  const { message } = error as Error;
  const bad = nonsense(message);
  if (bad !== null || message === "") {
    throw new Find("message", `${what} failed with a message that has ${bad}: ${message}`, {
      cause: error,
    });
  }
}

/** An error in a line. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return `no error at all: ${String(error)}`;
  const { code } = error as { readonly code?: unknown };
  return `${error.name}${typeof code === "string" ? ` ${code}` : ""}: ${error.message}`;
}
