/**
 * `vfiokit verify`: whether a checkpoint is whole and sound.
 *
 * @module
 */

import { openCheckpointFile, verifyCheckpoint } from "../../../src/checkpoint/mod.ts";
import { chainName } from "../../chain_name.ts";
import type { Context } from "../../context.ts";
import { bytes, count } from "../../output/format.ts";
import { whileReading } from "../../output/progress.ts";
import type { FileArgs } from "../../specs/verify_show.ts";

/** What is not known of a checkpoint that cannot be read. */
const UNKNOWN = {
  complete: null,
  transactions: null,
  bytes: null,
  storedBytes: null,
  devices: null,
};

/** Runs `verify`. */
export async function run({ file }: FileArgs, context: Context): Promise<number> {
  const chain = chainName(file);
  if (chain !== null) {
    // A file needs none of what a folder's checkpoints need.
    const { showFolder, verifyInFolder } = await import("./folder.ts");
    return chain.number === undefined
      ? await showFolder(file, false, context)
      : await verifyInFolder(file, chain, context);
  }
  context.set({ file, ok: false, ...UNKNOWN });
  await using source = await context.until(openCheckpointFile(file));
  const { signal } = context;
  const { header, trailer, storedBytes } = await whileReading(
    { verb: "Verifying", file, source },
    context,
    (at) => verifyCheckpoint(source, { signal, onProgress: (read) => at(read.storedBytes) }),
  );
  const { transactions, bytes: state } = trailer;
  const devices = trailer.devices;
  const { complete } = header;
  context.set({ ok: true, complete, transactions, bytes: state, storedBytes, devices });
  const of = devices.length === 1 ? "" : ` of ${devices.length} devices`;
  context.print(
    `${file === "-" ? "stdin" : file}: sound, ${bytes(state)}${of} in ` +
      `${count(transactions, "transaction")}` +
      (complete ? "" : "; pre-copy only, it cannot be restored as it is"),
  );
  return 0;
}
