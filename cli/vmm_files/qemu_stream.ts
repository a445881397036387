/**
 * A migration stream of QEMU's: read from a file, in words and as JSON.
 *
 * @module
 */

import type { CheckpointSource } from "../../src/checkpoint/mod.ts";
import {
  fileChunks,
  protocolOfMachine,
  type QemuDevice,
  type QemuStream,
  readQemuStream,
} from "../../src/vmm/mod.ts";
import type { Context } from "../context.ts";
import { bytes, count, hex } from "../output/format.ts";
import { whileReading } from "../output/progress.ts";
import { table } from "../output/table.ts";

/** Reads a file with such a stream, and draws at a terminal how far it is. */
export async function readStream(
  file: string,
  source: CheckpointSource,
  context: Context,
): Promise<QemuStream> {
  const chunks = fileChunks(source.file.fd);
  const { signal } = context;
  return await whileReading(
    { verb: "Reading", file, source },
    context,
    (at) => readQemuStream(chunks, { signal, onProgress: ({ bytes }) => at(bytes) }),
  );
}

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
