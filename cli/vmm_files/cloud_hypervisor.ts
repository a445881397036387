/**
 * A snapshot of cloud-hypervisor's: read from its folder, in words and as JSON.
 *
 * @module
 */

import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type CheckpointSource, openCheckpointFile } from "../../src/checkpoint/mod.ts";
import {
  type CloudHypervisorDevice,
  type CloudHypervisorSnapshot,
  fileChunks,
  readCloudHypervisorConfig,
  readCloudHypervisorSnapshot,
  VmmFileError,
} from "../../src/vmm/mod.ts";
import type { Context } from "../context.ts";
import { bytes, count } from "../output/format.ts";
import { whileReading } from "../output/progress.ts";
import { table } from "../output/table.ts";
import { UsageError } from "../usage_error.ts";
import { stateFile } from "./snapshot_folder.ts";

/** The configuration; the offload daemon of cloud-hypervisor writes the second. */
const CONFIG_FILES = ["config.json", "migration_config.json"];

/** Bytes of a configuration. */
const MOST_CONFIG = 16 << 20;

/** Why there may be no state of a device. */
export const NO_STATE =
  "its driver could not migrate, or cloud-hypervisor was older than version 53";

/** A snapshot, with what its configuration says. */
export interface ConfiguredSnapshot extends Omit<CloudHypervisorSnapshot, "devices"> {
  readonly devices: readonly (CloudHypervisorDevice & {
    /** Where the device was on its host; null if it is not said. */
    readonly path: string | null;
  })[];
}

/** Opens the state of a snapshot. */
export async function openSnapshot(folder: string): Promise<CheckpointSource> {
  const status = statSync(folder, { throwIfNoEntry: false });
  // Fails, and says so as for other files.
  if (status === undefined) return await openCheckpointFile(folder);
  if (!status.isDirectory()) {
    throw new UsageError(`Cannot read "${folder}": give the folder of the snapshot`);
  }
  const file = stateFile(folder);
  if (file === undefined) {
    const what = "it has no state.json, so it is no snapshot of cloud-hypervisor's";
    throw new VmmFileError("not-a-vmm-file", null, what);
  }
  const source = await openCheckpointFile(file);
  if (source.seekable) return source;
  await source[Symbol.asyncDispose]();
  throw new UsageError(`Cannot read "${file}": it must be a regular file`);
}

/** Reads a snapshot, and draws at a terminal how far it is. */
export async function readSnapshot(
  folder: string,
  source: CheckpointSource,
  context: Context,
): Promise<ConfiguredSnapshot> {
  const paths = new Map(configured(folder).map(({ name, path }) => [name, path]));
  const chunks = fileChunks(source.file.fd);
  const { signal } = context;
  const snapshot = await whileReading(
    { verb: "Reading", file: folder, source },
    context,
    (at) => readCloudHypervisorSnapshot(chunks, { signal, onProgress: ({ bytes }) => at(bytes) }),
  );
  const devices = snapshot.devices.map((device) => ({
    ...device,
    path: paths.get(device.name) ?? null,
  }));
  return { ...snapshot, devices };
}

function configured(folder: string): ReturnType<typeof readCloudHypervisorConfig> {
  const file = CONFIG_FILES.map((name) => join(folder, name)).find((name) => existsSync(name));
  if (file === undefined) return [];
  const status = statSync(file);
  // The size of others says nothing, and a fifo keeps who reads it waiting.
  if (!status.isFile()) throw new UsageError(`Cannot read "${file}": it must be a regular file`);
  if (status.size > MOST_CONFIG) {
    const what = `the configuration beside it has more than ${MOST_CONFIG} bytes`;
    throw new VmmFileError("unsupported", null, what);
  }
  return readCloudHypervisorConfig(readFileSync(file, "utf8"));
}

/** The snapshot as lines. */
export function snapshotLines(folder: string, snapshot: ConfiguredSnapshot): string[] {
  const { memory, devices, others } = snapshot;
  return [
    `${folder}: a snapshot of cloud-hypervisor's, ${bytes(snapshot.bytes)} without memory`,
    `  memory     ${
      memory === null ? "not said" : `${bytes(memory.bytes)} in ${count(memory.ranges, "range")}`
    }`,
    `  others     ${count(others.length, "device")} without VFIO`,
    ...(devices.length === 0
      ? ["It has no VFIO device."]
      : ["VFIO devices, protocol v2:", ...deviceLines(devices)]),
    ...(devices.some(({ blob }) => blob === null) ? [`No state: ${NO_STATE}.`] : []),
  ];
}

function deviceLines(devices: ConfiguredSnapshot["devices"]): string[] {
  return table(
    [
      { head: "device" },
      { head: "in the guest" },
      { head: "on the host" },
      { head: "state", align: "right" },
    ],
    devices.map((device) => [
      device.name,
      device.guestAddress ?? "-",
      device.path ?? "-",
      device.blob === null ? "none" : bytes(device.bytes),
    ]),
  );
}

/** The snapshot as JSON. */
export function snapshotDocument(snapshot: ConfiguredSnapshot): Record<string, unknown> {
  const { memory, devices, others } = snapshot;
  return {
    bytes: snapshot.bytes,
    memory,
    protocol: "v2",
    devices: devices.map(({ name, guestAddress, path, bytes, blob }) => ({
      device: name,
      guestAddress,
      path,
      bytes: blob === null ? null : bytes,
    })),
    others,
  };
}
