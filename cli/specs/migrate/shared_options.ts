/**
 * The options that both sides of a migration take.
 *
 * @module
 */

import { text } from "@optique/core/message";
import { optional, withDefault } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import { duration, file } from "../value_parsers.ts";

/** The most devices that a stream has. */
export const MOST_DEVICES = 64;

/** `--journal`. */
export const journal = optional(option("--journal", file(), {
  description: [
    text("The folder of the journals (default: vfiokit/migrations in the user's state folder)."),
  ],
}));

/** `--timeout`. */
export const timeout = withDefault(
  option("--timeout", duration(), {
    description: [text("Give up when the other side stalls for this time (default: 30s).")],
  }),
  30_000,
);
