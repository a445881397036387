/**
 * The command that lists devices.
 *
 * @module
 */

import { type InferValue, object } from "../optique.ts";
import type { Command } from "./command.ts";
import { json, quiet, toggle } from "./options.ts";

const args = object({
  all: toggle(
    ["-a", "--all"],
    "Every PCI function and every device in an IOMMU group, bridges too.",
  ),
  ...json,
  ...quiet,
});

/** The arguments of `list`. */
export type ListArgs = InferValue<typeof args>;

/** `list`. */
export const list: Command<ListArgs> = {
  name: "list",
  usage: "[--all] [--json]",
  brief: "List the devices that are VFIO devices, or could be.",
  details: [
    "Shows each device with its driver, its IOMMU group, its node, whether it can migrate and if not, why, in one word that probe explains. Virtual functions stand below their physical one. Processes that have the device or its group open are named.",
    "Opens no device: it reads sysfs, debugfs and /proc. If debugfs is not mounted (mount -t debugfs debugfs /sys/kernel/debug) or has no file for the device, whether a device migrates shows only in probe.",
  ],
  examples: [
    { what: "which devices are there?", line: "vfiokit list" },
    {
      what: "the addresses of those that cannot migrate",
      line: "vfiokit list --json | jq -r '.devices[] | select(.migratable == false).device'",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args,
};
