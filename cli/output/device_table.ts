/**
 * The table of `vfiokit list`.
 *
 * @module
 */

import type { ListedDevice } from "../../src/vfio/mod.ts";
import { hex } from "./format.ts";
import { table } from "./table.ts";

/** The lines of the table: one for each device, virtual functions indented. */
export function deviceTable(devices: readonly ListedDevice[]): string[] {
  return table(
    [
      { head: "device" },
      { head: "kind" },
      { head: "driver" },
      { head: "group", align: "right" },
      { head: "in the group" },
      { head: "node" },
      { head: "migrates" },
      { head: "why not" },
      { head: "open in" },
    ],
    devices.map((device) => [
      device.physicalFunction === null ? device.device : `  ${device.device}`,
      kind(device),
      device.driver ?? "-",
      device.group?.toString() ?? "-",
      device.group === null ? "-" : others(device.groupDevices),
      device.node ?? "-",
      migrates(device),
      device.reason?.code ?? "",
      device.holders.map(({ pid, comm }) => `${comm || "?"} (${pid})`).join(", "),
    ]),
  );
}

function kind({ bus, ids, mdevType }: ListedDevice): string {
  if (mdevType !== null) return `mdev ${mdevType}`;
  return ids === null ? bus : `${bus} ${hex(ids.vendorId, 4)}:${hex(ids.deviceId, 4)}`;
}

/** The first of the other devices, and how many more there are. */
function others([first, ...more]: readonly string[]): string {
  if (first === undefined) return "alone";
  return more.length === 0 ? first : `${first} and ${more.length} more`;
}

function migrates({ migratable, protocol }: ListedDevice): string {
  if (migratable === null) return protocol === null ? "not known" : `${protocol}, if it is enabled`;
  return migratable ? protocol ?? "yes" : "no";
}
