/**
 * The PCI configuration space of a simulated device.
 */

import { VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE } from "../../uapi/mod.ts";
import { refuse } from "../os/refusal.ts";
import type { Bytes } from "../os/bytes.ts";
import type { DeviceRegion } from "../driver/region.ts";
import type { Personality } from "../personalities.ts";

const SIZE = 256;

// linux/pci_regs.h
const PCI_VENDOR_ID = 0x00;
const PCI_DEVICE_ID = 0x02;
const PCI_COMMAND = 0x04;
const PCI_CLASS_REVISION = 0x08;
const PCI_SUBSYSTEM_VENDOR_ID = 0x2c;
const PCI_SUBSYSTEM_ID = 0x2e;
const PCI_STATUS = 0x06;
const PCI_STATUS_CAP_LIST = 0x10;
const PCI_CAPABILITY_LIST = 0x34;
const PCI_CAP_ID_MSI = 0x05;
/** One message, with a 64-bit address. */
const PCI_MSI_FLAGS_64BIT = 0x80;
/** Where the capability is: after the header. */
const MSI_AT = 0x40;
/** I/O, memory, bus master, INTx disable. */
const COMMAND_BITS = 0x0407;

/** 256 bytes, of which only the command register is writable, and one capability: MSI. */
export class ConfigSpace implements DeviceRegion {
  readonly size = SIZE;
  readonly flags: number = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
  readonly #bytes: Bytes = new Uint8Array(SIZE);
  readonly #writable: Uint8Array = new Uint8Array(SIZE);

  constructor({ ids, pciClass }: Personality, msi: boolean) {
    const view = new DataView(this.#bytes.buffer);
    view.setUint16(PCI_VENDOR_ID, ids[0], true);
    view.setUint16(PCI_DEVICE_ID, ids[1], true);
    view.setUint32(PCI_CLASS_REVISION, pciClass << 8, true);
    view.setUint16(PCI_SUBSYSTEM_VENDOR_ID, ids[2], true);
    view.setUint16(PCI_SUBSYSTEM_ID, ids[3], true);
    new DataView(this.#writable.buffer).setUint16(PCI_COMMAND, COMMAND_BITS, true);
    if (!msi) return;
    view.setUint16(PCI_STATUS, PCI_STATUS_CAP_LIST, true);
    view.setUint8(PCI_CAPABILITY_LIST, MSI_AT);
    view.setUint8(MSI_AT, PCI_CAP_ID_MSI);
    view.setUint16(MSI_AT + 2, PCI_MSI_FLAGS_64BIT, true);
  }

  /** The device is opened or reset. */
  reset(): void {
    this.#bytes.fill(0, PCI_COMMAND, PCI_COMMAND + 2);
  }

  pread(at: number, into: Bytes): number {
    if (at + into.length > SIZE) refuse("EFAULT");
    into.set(this.#bytes.subarray(at, at + into.length));
    return into.length;
  }

  pwrite(at: number, from: Bytes): number {
    if (at + from.length > SIZE) refuse("EFAULT");
    from.forEach((byte, i) => {
      const writable = this.#writable[at + i]!;
      this.#bytes[at + i] = (this.#bytes[at + i]! & ~writable) | (byte & writable);
    });
    return from.length;
  }
}
