/**
 * The error of a command line that parses, yet cannot be meant.
 *
 * @module
 */

/** A command line that makes no sense; exit code 2. */
export class UsageError extends Error {
  /** Always `UsageError`. */
  override readonly name = "UsageError";
}
