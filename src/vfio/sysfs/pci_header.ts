/**
 * What the header in a PCI function's configuration space says: whether it is a bridge.
 */

import { cleanlyThen } from "../../base/cleanup.ts";
import { SysError } from "../../kernel/sys_error.ts";
import { type Kernel, O_RDONLY } from "../../kernel/kernel.ts";
import type { SysfsDevice } from "./sysfs.ts";

/** PCI_HEADER_TYPE in configuration space, and the bits that tell the type (linux/pci_regs.h). */
const PCI_HEADER_TYPE = 0x0e;
const PCI_HEADER_TYPE_MASK = 0x7f;
/** The header of a function that is no bridge to another bus. */
export const PCI_HEADER_TYPE_NORMAL = 0;
const PCI_HEADER_TYPE_BRIDGE = 1;

/** Classes of bridges (linux/pci_ids.h). */
const PCI_BASE_CLASS_BRIDGE = 0x06;
const PCI_CLASS_BRIDGE_HOST = 0x0600;
const PCI_CLASS_BRIDGE_ISA = 0x0601;
const PCI_CLASS_BRIDGE_PCI = 0x0604;

/** A bridge: to another PCI bus, which VFIO drivers do not take; or one that they would take. */
export type Bridge = "PCI" | "host" | "ISA";

/** Which bridge a device is; null if it is none, or that cannot be known. */
export function bridgeKind(kernel: Kernel, device: SysfsDevice): Bridge | null {
  if (device.bus !== "pci") return null;
  const type = headerType(kernel, device);
  if (type !== null && type !== PCI_HEADER_TYPE_NORMAL) return "PCI";
  switch ((device.pciClass ?? 0) >> 8) {
    case PCI_CLASS_BRIDGE_HOST:
      return "host";
    case PCI_CLASS_BRIDGE_ISA:
      return "ISA";
    default:
      return null;
  }
}

/** The type of a PCI function's header; null if that cannot be read, and its class leaves it open. */
export function headerType(kernel: Kernel, { path, pciClass }: SysfsDevice): number | null {
  const byte = readByte(kernel, `${path}/config`, PCI_HEADER_TYPE);
  if (byte !== null) return byte & PCI_HEADER_TYPE_MASK;
  if (pciClass === null) return null;
  if (pciClass >> 16 !== PCI_BASE_CLASS_BRIDGE) return PCI_HEADER_TYPE_NORMAL;
  return pciClass >> 8 === PCI_CLASS_BRIDGE_PCI ? PCI_HEADER_TYPE_BRIDGE : null;
}

function readByte(kernel: Kernel, path: string, at: number): number | null {
  try {
    const fd = kernel.open(path, O_RDONLY);
    return cleanlyThen(() => {
      const byte = new Uint8Array(new ArrayBuffer(1));
      return kernel.pread(fd, byte, at) === 1 ? byte[0]! : null;
    }, () => kernel.close(fd));
  } catch (error) {
    if (error instanceof SysError) return null;
    throw error;
  }
}
