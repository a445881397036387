/**
 * The base of every error that this library throws on purpose, and its hints.
 *
 * @module
 */

/**
 * What helps, as a stable word: something that the caller can do with this library. The command
 * line words it as its own option or command.
 */
export type Remedy =
  /** Open the device by its group. */
  | "open-by-group"
  /** Open the device by its group, or let the device's own log track. */
  | "open-by-group-or-log"
  /** Pass the fd of the container that the device is in. */
  | "pass-container"
  /** Pass the iommufd and the id of the IOAS that the device is attached to. */
  | "pass-ioas"
  /** Pass a VF token. */
  | "pass-vf-token"
  /** Let the type1 container track dirty pages. */
  | "track-by-type1"
  /** Let an existing file be replaced, or another kind of device be restored. */
  | "force"
  /** Allow a migration more downtime, or let it stop the devices whatever the downtime. */
  | "converge"
  /** The same, or promise that nothing but the devices writes to memory. */
  | "converge-or-promise"
  /** Reset the device. */
  | "reset"
  /** Set the device to RUNNING. */
  | "set-running"
  /** Make a checkpoint of what QEMU wrote to a file. */
  | "import-qemu"
  /** Lend the device to the program that drives it. */
  | "lend";

/** What to do next. */
export interface Hint {
  /** The text. It names no command-line option. */
  readonly text: string;
  /** What in this library helps; null if it is something else. */
  readonly remedy: Remedy | null;
}

/**
 * Makes a hint from a text, or returns the given hint; null if there is nothing to say.
 *
 * @example
 * ```ts
 * import { toHint } from "./vfiokit_error.ts";
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(toHint("Try again"), { text: "Try again", remedy: null });
 * assert.equal(toHint(""), null);
 * ```
 */
export function toHint(hint: Hint | string | null | undefined): Hint | null {
  if (typeof hint !== "string") return hint ?? null;
  return hint === "" ? null : { text: hint, remedy: null };
}

/**
 * An error that this library throws on purpose. Its class and its `code` say what went wrong, so
 * that no caller has to read the message. Wrong use, such as an argument of the wrong type or range
 * or a call out of order, is a TypeError or a RangeError, as with the runtime's own functions.
 *
 * @example
 * ```ts
 * import { VfiokitError } from "vfiokit";
 * import { SysError } from "vfiokit/kernel";
 * import assert from "node:assert/strict";
 *
 * const error = new SysError("open", 16, "/dev/vfio/12");
 * assert.ok(error instanceof VfiokitError);
 * assert.equal(error.code, "EBUSY");
 * assert.equal(error.hint, null);
 * ```
 */
export abstract class VfiokitError extends Error {
  /** The code of what went wrong, or the errno's name; null if the system gave none. */
  abstract readonly code: string | null;
  /** What to do next; null if there is no hint. */
  readonly hint: Hint | null;

  /** Makes the error; the hint may be just its text. */
  constructor(
    message: string,
    options?: ErrorOptions,
    hint?: Hint | string | null,
  ) {
    super(message, options);
    this.hint = toHint(hint);
  }
}

/** The hint of an error; null if it has none. */
export function hintOf(error: unknown): Hint | null {
  return error instanceof VfiokitError ? error.hint : null;
}
