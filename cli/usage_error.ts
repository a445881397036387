/**
 * The error of a command line that parses but makes no sense.
 *
 * @module
 */

/** A command line that makes no sense; exit code 2. */
export class UsageError extends Error {
  /** Always `UsageError`. */
  override readonly name = "UsageError";
}
