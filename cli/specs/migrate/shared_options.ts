/**
 * The options that both sides of a migration take.
 *
 * @module
 */

import { multiple, option, optional, text, withDefault } from "../../optique.ts";
import { toggle } from "../options.ts";
import { duration, file } from "../value_parsers.ts";

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

/** `--events`. */
export const events = optional(option("--events", file(), {
  description: [
    text("Write what happens to this file as JSON Lines, at once: phases, rounds, warnings."),
  ],
}));

/** How both sides of a TCP connection prove who they are. */
export const tls = {
  key: optional(option("--key", file(), {
    description: [
      text("For tcp: this side's private key (see keygen); only its owner may read it."),
    ],
  })),
  certificate: optional(option("--certificate", file(), {
    description: [text("For tcp: the certificate of that key.")],
  })),
  peer: multiple(option("--peer", file(), {
    description: [text("For tcp: the certificate of the other side; may be given several times.")],
  })),
  insecurePlain: toggle(
    ["--insecure-plain"],
    "For tcp: neither encrypt nor authenticate the other side; addresses of this machine only.",
  ),
};
