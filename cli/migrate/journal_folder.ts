/**
 * Where the journals of migrations are.
 *
 * @module
 */

import { join } from "node:path";
import { env } from "../env.ts";
import { UsageError } from "../usage_error.ts";

/**
 * The folder that was named, or the user's own.
 *
 * @throws {UsageError} If none was named, and the environment does not say where the user's is.
 */
export function journalFolder(named: string | undefined): string {
  if (named !== undefined) return named;
  const state = env("XDG_STATE_HOME");
  if (state !== undefined && state !== "") return join(state, "vfiokit", "migrations");
  const home = env("HOME");
  if (home !== undefined && home !== "") {
    return join(home, ".local", "state", "vfiokit", "migrations");
  }
  throw new UsageError("Cannot find a folder for the journal: name one by --journal DIR");
}
