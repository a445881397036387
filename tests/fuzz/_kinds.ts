/**
 * Every kind of attack.
 */

import type { AnyKind } from "./_kind.ts";
import { attach } from "./attach.ts";
import { chains } from "./chains.ts";
import { checkpoints } from "./checkpoints.ts";
import { client } from "./client.ts";
import { commands } from "./commands.ts";
import { faults } from "./faults.ts";
import { kernel } from "./kernel.ts";
import { monitor } from "./monitor.ts";
import { peer } from "./peer.ts";
import { server } from "./server.ts";
import { vmmFiles } from "./vmm_files.ts";

/** The kinds, in the order in which they are told of. */
export const KINDS: readonly AnyKind[] = [
  faults,
  checkpoints,
  chains,
  vmmFiles,
  monitor,
  kernel,
  server,
  client,
  attach,
  peer,
  commands,
];

/** A kind by its name. */
export function kindOf(name: string): AnyKind {
  const kind = KINDS.find((one) => one.name === name);
  if (kind !== undefined) return kind;
  const names = KINDS.map((one) => one.name).join(", ");
  throw new RangeError(`no kind is named ${JSON.stringify(name)}; there are ${names}`);
}
