/**
 * What a migration stream of QEMU's holds, in words and as JSON.
 *
 * @module
 */

import { protocolOfMachine, type QemuDevice, type QemuStream } from "../../src/vmm/mod.ts";
import { bytes, count, hex } from "./format.ts";
import { table } from "./table.ts";

/** The stream as lines. */
export function streamLines(file: string, stream: QemuStream): string[] {
  const { machine, ram, devices, others } = stream;
  const protocol = protocolOfMachine(machine) ?? "v1 or v2";
  return [
    `${file}: a migration stream of QEMU's, ${bytes(stream.bytes)}`,
    `  machine    ${machine ?? "not said"}`,
    `  memory     ${bytes(ram.bytes)} in ${count(ram.blocks, "block")}, ` +
    `${count(ram.pages, "page")} and ${ram.zeroPages} of zeros`,
    `  others     ${count(others.length, "section")} of devices without VFIO`,
    ...(devices.length === 0
      ? ["No VFIO device in it has migration state."]
      : [`VFIO devices, protocol ${protocol}:`, ...deviceLines(devices)]),
  ];
}

function deviceLines(devices: readonly QemuDevice[]): string[] {
  return table(
    [
      { head: "device" },
      { head: "ids" },
      { head: "pre-copy", align: "right" },
      { head: "stop-and-copy", align: "right" },
      { head: "pieces", align: "right" },
    ],
    devices.map(({ name, ids, bytes: total, records }) => {
      const precopy = precopyBytes(records);
      return [
        name,
        ids === null ? "unknown" : `${hex(ids.vendorId, 4)}:${hex(ids.deviceId, 4)}`,
        bytes(precopy),
        bytes(total - precopy),
        String(records.length),
      ];
    }),
  );
}

function precopyBytes(records: QemuDevice["records"]): number {
  return records.reduce((sum, { precopy, length }) => precopy ? sum + length : sum, 0);
}

/** The stream as JSON. */
export function streamDocument(stream: QemuStream): Record<string, unknown> {
  const { machine, bytes, ram, devices, others } = stream;
  return {
    ...{ machine, bytes, ram },
    protocol: protocolOfMachine(machine),
    devices: devices.map(({ name, ids, bytes, records }) => ({
      device: name,
      vendorId: ids?.vendorId ?? null,
      deviceId: ids?.deviceId ?? null,
      subsystemVendorId: ids?.subsystemVendorId ?? null,
      subsystemId: ids?.subsystemId ?? null,
      bytes,
      precopyBytes: precopyBytes(records),
      pieces: records.length,
    })),
    others,
  };
}
