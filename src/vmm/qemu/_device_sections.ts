/**
 * The sections of devices that are saved at once, at the end of a QEMU stream: each is as long as
 * the description says, and VFIO devices' have their configuration space.
 */

import type { PciIds } from "../../vfio/sysfs/sysfs.ts";
import { VmmFileError } from "../vmm_file_error.ts";
import { readDescription } from "./_description.ts";
import {
  QEMU_VM_SECTION_FOOTER,
  QEMU_VM_SECTION_FULL,
  VFIO_MIG_FLAG_DEV_CONFIG_STATE,
  VFIO_MIG_FLAG_HIGH,
  VFIO_MIG_FLAG_MAGIC,
} from "./format.ts";

/** What the sections say. */
export interface DeviceSections {
  /** The names of the sections. */
  readonly names: readonly string[];
  /** The target's page size in bytes; null if it is not said. */
  readonly pageSize: number | null;
  /** The PCI ids of VFIO devices, by the name of their section. */
  readonly ids: ReadonlyMap<string, PciIds>;
}

/** The tag before a device's configuration, and the version of QEMU's PCI device behind it. */
const CONFIG_AT = 8 + 4;

/** Offsets in PCI configuration space (linux/pci_regs.h). */
const PCI_SUBSYSTEM_VENDOR_ID = 0x2c;
const PCI_SUBSYSTEM_ID = 0x2e;

/**
 * Walks the sections to the end of the stream.
 *
 * @param tail The stream from the first of them on.
 * @param base The offset of the tail in the stream.
 * @param isVfio Whether a section is a VFIO device's.
 */
export function readDeviceSections(
  tail: Uint8Array<ArrayBuffer>,
  base: number,
  isVfio: (name: string) => boolean,
): DeviceSections {
  const { sections, end, pageSize } = readDescription(tail, base);
  const view = new DataView(tail.buffer, tail.byteOffset, tail.length);
  const ids = new Map<string, PciIds>();
  let at = 0;
  for (const { name, instance, length } of sections) {
    const content = at + 5 + 1 + name.length + 8;
    const footer = content + length;
    const fits = footer + 5 <= end && tail[at] === QEMU_VM_SECTION_FULL &&
      tail[at + 5] === name.length && latin1(tail, at + 6, name.length) === name &&
      view.getUint32(content - 8) === instance;
    if (!fits) {
      throw new VmmFileError(
        "damaged",
        base + at,
        `there is no section "${name}", which is described`,
      );
    }
    if (
      tail[footer] !== QEMU_VM_SECTION_FOOTER ||
      view.getUint32(footer + 1) !== view.getUint32(at + 1)
    ) {
      throw new VmmFileError("damaged", base + footer, `the section "${name}" does not end here`);
    }
    if (isVfio(name)) {
      const found = readIds(view, content, length);
      if (found !== null) ids.set(name, found);
    }
    at = footer + 5;
  }
  if (at !== end) {
    throw new VmmFileError("damaged", base + at, "there are sections that are not described");
  }
  return { names: sections.map(({ name }) => name), pageSize, ids };
}

/** The ids in a VFIO device's configuration; null if it is none of PCI. */
function readIds(view: DataView, at: number, length: number): PciIds | null {
  if (length < CONFIG_AT + 256 || view.getUint32(at) !== VFIO_MIG_FLAG_HIGH) return null;
  const tag = VFIO_MIG_FLAG_MAGIC * 0x10000 + VFIO_MIG_FLAG_DEV_CONFIG_STATE;
  if (view.getUint32(at + 4) !== tag) return null;
  const word = (offset: number): number => view.getUint16(at + CONFIG_AT + offset, true);
  const vendorId = word(0);
  if (vendorId === 0 || vendorId === 0xffff) return null;
  return {
    vendorId,
    deviceId: word(2),
    subsystemVendorId: word(PCI_SUBSYSTEM_VENDOR_ID),
    subsystemId: word(PCI_SUBSYSTEM_ID),
  };
}

function latin1(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): string {
  return new TextDecoder("latin1").decode(bytes.subarray(at, at + length));
}
