/**
 * The devices in the configuration beside a snapshot of cloud-hypervisor's.
 *
 * @module
 */

import { VmmFileError } from "../vmm_file_error.ts";

/** A VFIO or vfio-user device that a virtual machine is configured with. */
export interface ConfiguredDevice {
  /** Its id, which is its name in the snapshot. */
  readonly name: string;
  /** Its folder in sysfs, or its socket, on the host that the snapshot was taken on. */
  readonly path: string;
}

/**
 * Reads a snapshot's `config.json`, or the `migration_config.json` of cloud-hypervisor's offload
 * daemon, which has the same inside. A device that was given as an fd has no path and is left out.
 *
 * @throws {VmmFileError} `damaged` if it is no JSON object.
 *
 * @example
 * ```ts
 * import { readCloudHypervisorConfig } from "vfiokit/vmm";
 * import assert from "node:assert/strict";
 *
 * const path = "/sys/bus/pci/devices/0000:3b:00.1/";
 * assert.deepEqual(
 *   readCloudHypervisorConfig(JSON.stringify({ devices: [{ id: "nic", path }] })),
 *   [{ name: "nic", path }],
 * );
 * ```
 */
export function readCloudHypervisorConfig(text: string): ConfiguredDevice[] {
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch {
    // Said below.
  }
  if (!isObject(config)) {
    throw new VmmFileError("damaged", null, "the configuration beside it is no object of JSON");
  }
  const inner = config["vm_config"];
  const { devices, user_devices: users } = isObject(inner) ? inner : config;
  return [...named(devices, "path"), ...named(users, "socket")];
}

function named(list: unknown, key: string): ConfiguredDevice[] {
  if (!Array.isArray(list)) return [];
  return list.flatMap((one: unknown) => {
    if (!isObject(one)) return [];
    const { id: name, [key]: path } = one;
    return typeof name === "string" && typeof path === "string" ? [{ name, path }] : [];
  });
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
