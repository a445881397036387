/**
 * Finds missing nodes in /dev before a device is opened.
 */

import { ERRNO } from "../../kernel/errno_names.ts";
import { SysError } from "../../kernel/sys_error.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { exists } from "./evidence.ts";
import { explainOpening, type OpeningCall } from "../open/explain_opening.ts";
import { CONTAINER_PATH } from "../dma/container.ts";
import { IOMMUFD_PATH } from "../dma/iommufd.ts";
import type { SysfsDevice } from "../sysfs/sysfs.ts";
import { type Reason, UnsupportedError } from "./unsupported_error.ts";

/** Why no way to open a device has all of its nodes, a reason for each; empty if one has. */
export function missingNodes(kernel: Kernel, sysfs: SysfsDevice): Reason[] {
  const { group, cdev } = sysfs;
  const ways: [call: OpeningCall, path: string][][] = [];
  if (group !== null && !group.noiommu) {
    ways.push([["open container", CONTAINER_PATH], ["open group", group.path]]);
  }
  if (cdev !== null) ways.push([["open iommufd", IOMMUFD_PATH], ["open cdev", cdev]]);
  const missing = ways.map((nodes) => nodes.find(([, path]) => exists(kernel, path) === false));
  if (missing.includes(undefined)) return [];
  return missing.flatMap((node) => {
    const [call, path] = node!;
    const refused = new SysError("open", ERRNO.ENOENT, path);
    const error = explainOpening(call, refused, { kernel, path, sysfs, group: group?.number });
    return error instanceof UnsupportedError ? error.reasons : [];
  });
}
