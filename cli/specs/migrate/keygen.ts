/**
 * The command that makes a key and a certificate for migrations over TCP.
 *
 * @module
 */

import { argument, type InferValue, object, text } from "../../optique.ts";
import type { Command } from "../command.ts";
import { json, quiet } from "../options.ts";
import { file } from "../value_parsers.ts";

const keygenArgs = object({
  folder: argument(file(), {
    description: [
      text("The folder for key.pem and certificate.pem; it is made if it does not exist."),
    ],
  }),
  ...json,
  ...quiet,
});

/** The arguments of `keygen`. */
export type KeygenArgs = InferValue<typeof keygenArgs>;

/** `keygen`. */
export const keygen: Command<KeygenArgs> = {
  name: "keygen",
  usage: "FOLDER",
  brief: "Make a key and a certificate for migrate and receive over TCP.",
  details: [
    "Writes key.pem, which only its owner may read, and certificate.pem, which the other side gets: its --peer. Prints the fingerprint of the certificate (SHA-256), to compare. Existing files are not replaced.",
    "The key is ECDSA on P-256, the certificate signs itself and is valid for ten years. Certificates of an authority do as well: --peer is the authority's then.",
  ],
  examples: [
    { what: "this machine's pair", line: "vfiokit keygen ~/.config/vfiokit" },
  ],
  permissions: ["--allow-read", "--allow-write"],
  args: keygenArgs,
};
