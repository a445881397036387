/**
 * `vfiokit import cloud-hypervisor`: a checkpoint of VFIO devices in a snapshot of
 * cloud-hypervisor's.
 *
 * @module
 */

import { importedIdentity, stateOfSnapshot } from "../../../src/vmm/mod.ts";
import type { Context } from "../../context.ts";
import type { ImportArgs } from "../../specs/import.ts";
import {
  NO_STATE,
  openSnapshot,
  readSnapshot,
  snapshotDocument,
  snapshotLines,
} from "../../vmm_files/cloud_hypervisor.ts";
import { begin, chosen, likeIdentity, writeImported } from "./_import.ts";

/** Runs `import cloud-hypervisor`. */
export async function run(args: ImportArgs, context: Context): Promise<number> {
  const { file } = args;
  begin(args, "snapshot", context);
  await using source = await context.until(openSnapshot(file));
  const snapshot = await readSnapshot(file, source, context);
  context.set({ snapshot: snapshotDocument(snapshot) });
  if (args.list) {
    context.print(...snapshotLines(file, snapshot));
    return 0;
  }
  // The snapshot has no ids: cloud-hypervisor reads them of the device each time.
  const all = snapshot.devices.map((device) => ({ ...device, ids: null }));
  const without = all.filter(({ blob }) => blob === null).map(({ name }) => name);
  const stateful = all.filter(({ blob }) => blob !== null);
  const devices = chosen(stateful, args.names, { names: without, why: NO_STATE });
  const like = await likeIdentity(args);
  const identities = devices.map((device) => importedIdentity(device, { protocol: "v2", like }));
  const transactions = stateOfSnapshot(source.file.fd, devices);
  await writeImported({ devices, identities, transactions }, args, context);
  if (like === null) {
    context.note(
      "hint: The snapshot does not say what kind of device it was, so restore has nothing to compare. " +
        "With --like DEVICE it has",
    );
  }
  return 0;
}
