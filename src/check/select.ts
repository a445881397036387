/**
 * Choosing checks by id and by group.
 *
 * @module
 */

import { CheckError } from "./check_error.ts";

/** What is chosen by. */
export interface Selectable {
  /** The check's id. */
  readonly id: string;
  /** Its group. */
  readonly group: string;
}

/** Which checks to run. */
export interface Selection {
  /** Only these: ids, beginnings of ids up to a dot, and groups; all if empty or left out. */
  readonly only?: readonly string[] | undefined;
  /** All but these. */
  readonly skip?: readonly string[] | undefined;
}

/**
 * The checks that are chosen, in their order.
 *
 * @throws {CheckError} `no-such-check` if a word is the name of no check and no group.
 *
 * @example
 * ```ts
 * import { selectChecks } from "vfiokit/check";
 * import assert from "node:assert/strict";
 *
 * const checks = [{ id: "v2.arc.stays", group: "arcs" }, { id: "v2.data.end", group: "stop-copy" }];
 * assert.deepEqual(selectChecks(checks, { only: ["arcs"] }), [checks[0]]);
 * assert.deepEqual(selectChecks(checks, { skip: ["v2.data"] }), [checks[0]]);
 * ```
 */
export function selectChecks<T extends Selectable>(
  checks: readonly T[],
  { only = [], skip = [] }: Selection,
): T[] {
  for (const word of [...only, ...skip]) {
    if (checks.some((check) => isNamed(check, word))) continue;
    const groups = [...new Set(checks.map(({ group }) => group))].join(", ");
    throw new CheckError(
      "no-such-check",
      `Cannot choose "${word}": no check and no group has that name; the groups are ${groups}`,
    );
  }
  return checks.filter((check) =>
    (only.length === 0 || only.some((word) => isNamed(check, word))) &&
    !skip.some((word) => isNamed(check, word))
  );
}

function isNamed({ id, group }: Selectable, word: string): boolean {
  return word === id || word === group || id.startsWith(`${word}.`);
}
