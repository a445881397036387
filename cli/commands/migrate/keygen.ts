/**
 * `vfiokit keygen`: a key and a certificate for migrations over TCP.
 *
 * @module
 */

import * as fs from "node:fs";
import { join } from "node:path";
import { fingerprint, generateKeys } from "../../../src/live/mod.ts";
import type { Context } from "../../context.ts";
import { DONE } from "../../exit_codes.ts";
import type { KeygenArgs } from "../../specs/migrate/keygen.ts";

/** Runs `keygen`. */
export async function run({ folder }: KeygenArgs, context: Context): Promise<number> {
  const files = { key: join(folder, "key.pem"), certificate: join(folder, "certificate.pem") };
  const made = await generateKeys();
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  // Neither is ever replaced: the other side knows the certificate that is there.
  fs.writeFileSync(files.key, made.key, { flag: "wx", mode: 0o600 });
  fs.writeFileSync(files.certificate, made.certificate, { flag: "wx", mode: 0o644 });
  const own = fingerprint(made.certificate);
  context.set({ ...files, fingerprint: own });
  context.print(
    `Key:         ${files.key}`,
    `Certificate: ${files.certificate}`,
    `SHA-256:     ${own}`,
  );
  return DONE;
}
