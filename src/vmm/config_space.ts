/**
 * What a VMM has set in the PCI configuration space of its device: a state must not be put under it
 * that changes this.
 *
 * @module
 */

import type { Device } from "../migration/device.ts";
import { VFIO_PCI_CONFIG_REGION_INDEX } from "../uapi/constants.ts";

/** As much as every device has: the kernel's mtty has a byte less than the 256 of PCI. */
const SIZE = 255;

// linux/pci_regs.h
const PCI_STATUS = 0x06;
const PCI_STATUS_CAP_LIST = 0x10;
const PCI_CAPABILITY_LIST = 0x34;
const PCI_CAP_ID_MSI = 0x05;
const PCI_CAP_ID_MSIX = 0x11;
/** The most capabilities that fit behind the header. */
const MOST_CAPABILITIES = 48;

/** Fields of the header that neither a state nor a reset may change, by offset and length. */
const HEADER: readonly (readonly [name: string, at: number, length: number])[] = [
  ["the ids", 0x00, 4],
  ["the command register", 0x04, 2],
  ["the class and revision", 0x08, 4],
  ["the BARs", 0x10, 24],
  ["the subsystem ids", 0x2c, 4],
  ["the expansion ROM", 0x30, 4],
  ["the interrupt line and pin", 0x3c, 2],
];

/** The whole of the largest form of each capability, by its id. */
const CAPABILITIES: Readonly<Record<number, readonly [name: string, length: number]>> = {
  [PCI_CAP_ID_MSI]: ["MSI", 24],
  [PCI_CAP_ID_MSIX]: ["MSI-X", 12],
};

/** Configuration space, by the names of its parts. */
export type ConfigSpace = ReadonlyMap<string, string>;

/** Reads the configuration space of a PCI device. */
export async function readConfigSpace(device: Device): Promise<ConfigSpace> {
  const bytes = await device.readRegion(VFIO_PCI_CONFIG_REGION_INDEX, 0, SIZE);
  return partsOf(bytes);
}

/** The parts of a configuration space that a VMM sets, and what identifies the device. */
export function partsOf(bytes: Uint8Array): ConfigSpace {
  const parts = new Map<string, string>();
  const add = (name: string, at: number, length: number): void => {
    parts.set(name, [...bytes.subarray(at, at + length)].join(" "));
  };
  for (const [name, at, length] of HEADER) add(name, at, length);
  if ((bytes[PCI_STATUS]! & PCI_STATUS_CAP_LIST) === 0) return parts;
  let at = bytes[PCI_CAPABILITY_LIST]! & 0xfc;
  for (let count = 0; at >= 0x40 && count < MOST_CAPABILITIES; count++) {
    const found = CAPABILITIES[bytes[at]!];
    if (found !== undefined) add(found[0], at, found[1]);
    at = bytes[at + 1]! & 0xfc;
  }
  return parts;
}

/** The names of the parts that differ. */
export function changedParts(before: ConfigSpace, after: ConfigSpace): string[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => before.get(name) !== after.get(name));
}
