/**
 * QEMU's nvme with a virtual function, both bound to vfio-pci: whoever has the
 * physical function open chooses the token that opens the virtual one.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { existsSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { libcKernel } from "../../../src/kernel/mod.ts";
import { parseDeviceName } from "../../../src/vfio/mod.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
  VFIO_DEVICE_FEATURE_SET,
  vfioDeviceFeature,
} from "../../../src/uapi/mod.ts";
import { openVfioDevice } from "../../../src/vfio/open/open.ts";

/** The root port that qemu.ts puts it behind, so that each function is in a group of its own. */
const PORT = "/sys/bus/pci/devices/0000:00:11.0";

function physicalFunction(): string | null {
  if (!existsSync(PORT)) return null;
  return readdirSync(PORT).find((name) => name.startsWith("0000:") && name.endsWith(".0")) ?? null;
}

/** Why there is no virtual function; null where there is. */
export function lacksVf(): string | null {
  return physicalFunction() === null ? "this QEMU's nvme has no virtual functions" : null;
}

/** Lends a virtual function, by its PCI address, while the physical one is open with a token. */
export async function withVf(
  token: string,
  use: (address: string) => Promise<void>,
): Promise<void> {
  const address = physicalFunction()!;
  const folder = `${PORT}/${address}`;
  writeFileSync("/sys/module/vfio_pci/parameters/enable_sriov", "Y\n");
  writeFileSync(`${folder}/driver_override`, "vfio-pci\n");
  writeFileSync("/sys/bus/pci/drivers_probe", `${address}\n`);
  using physical = openVfioDevice(libcKernel(), parseDeviceName(address));
  const argument = vfioDeviceFeature.pack({
    flags: VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
    data: Buffer.from(token.replaceAll("-", ""), "hex"),
  });
  physical.kernel.ioctl(physical.fd.number, VFIO_DEVICE_FEATURE, argument);
  // vfio-pci binds the virtual functions of its devices itself.
  writeFileSync(`${folder}/sriov_numvfs`, "1\n");
  try {
    await use(basename(readlinkSync(`${folder}/virtfn0`)));
  } finally {
    writeFileSync(`${folder}/sriov_numvfs`, "0\n");
  }
}
