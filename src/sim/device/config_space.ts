/**
 * The PCI configuration space of a simulated device.
 */

import { VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE } from "../../uapi/mod.ts";
import { refuse } from "../os/refusal.ts";
import type { Bytes } from "../os/bytes.ts";
import type { DeviceRegion } from "../driver/region.ts";
import type { Personality } from "../personalities.ts";
import type { Interrupts } from "./interrupts.ts";
import type { MsixTable } from "./msix_table.ts";

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
const PCI_STATUS_INTERRUPT = 0x08;
const PCI_CAPABILITY_LIST = 0x34;
const PCI_INTERRUPT_LINE = 0x3c;
const PCI_INTERRUPT_PIN = 0x3d;
const PCI_COMMAND_INTX_DISABLE = 0x0400;
const PCI_CAP_ID_MSI = 0x05;
const PCI_CAP_ID_MSIX = 0x11;
/** One message, with a 64-bit address. */
const PCI_MSI_FLAGS_64BIT = 0x80;
/** Where the capabilities are: after the header. */
const MSI_AT = 0x40;
const MSIX_AT = 0x50;
/** I/O, memory, bus master, INTx disable. */
const COMMAND_BITS = 0x0407;

/**
 * 256 bytes, of which the command register is writable. A device that raises interrupts has INTA and
 * two capabilities: MSI and MSI-X.
 */
export class ConfigSpace implements DeviceRegion {
  readonly size = SIZE;
  readonly flags: number = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
  readonly #bytes: Bytes = new Uint8Array(SIZE);
  readonly #writable: Uint8Array = new Uint8Array(SIZE);
  readonly #view: DataView = new DataView(this.#bytes.buffer);
  readonly #interrupts: Interrupts;

  /** @param msix Where the table of MSI-X is; null if the device raises no interrupts. */
  constructor({ ids, pciClass }: Personality, interrupts: Interrupts, msix: MsixTable | null) {
    this.#interrupts = interrupts;
    const view = this.#view;
    view.setUint16(PCI_VENDOR_ID, ids[0], true);
    view.setUint16(PCI_DEVICE_ID, ids[1], true);
    view.setUint32(PCI_CLASS_REVISION, pciClass << 8, true);
    view.setUint16(PCI_SUBSYSTEM_VENDOR_ID, ids[2], true);
    view.setUint16(PCI_SUBSYSTEM_ID, ids[3], true);
    new DataView(this.#writable.buffer).setUint16(PCI_COMMAND, COMMAND_BITS, true);
    if (msix === null) return;
    view.setUint16(PCI_STATUS, PCI_STATUS_CAP_LIST, true);
    view.setUint8(PCI_CAPABILITY_LIST, MSI_AT);
    view.setUint8(PCI_INTERRUPT_PIN, 1);
    this.#writable[PCI_INTERRUPT_LINE] = 0xff;
    view.setUint8(MSI_AT, PCI_CAP_ID_MSI);
    view.setUint8(MSI_AT + 1, MSIX_AT);
    view.setUint16(MSI_AT + 2, PCI_MSI_FLAGS_64BIT, true);
    view.setUint8(MSIX_AT, PCI_CAP_ID_MSIX);
    view.setUint16(MSIX_AT + 2, msix.vectors - 1, true);
    view.setUint32(MSIX_AT + 4, msix.bar, true);
    view.setUint32(MSIX_AT + 8, msix.pendingAt | msix.bar, true);
  }

  /** The device is opened or reset. */
  reset(): void {
    this.#bytes.fill(0, PCI_COMMAND, PCI_COMMAND + 2);
    this.#bytes[PCI_INTERRUPT_LINE] = 0;
  }

  pread(at: number, into: Bytes): number {
    if (at + into.length > SIZE) refuse("EFAULT");
    const status = this.#bytes[PCI_STATUS]! & ~PCI_STATUS_INTERRUPT;
    this.#bytes[PCI_STATUS] = status | (this.#interrupts.pending ? PCI_STATUS_INTERRUPT : 0);
    into.set(this.#bytes.subarray(at, at + into.length));
    return into.length;
  }

  pwrite(at: number, from: Bytes): number {
    if (at + from.length > SIZE) refuse("EFAULT");
    from.forEach((byte, i) => {
      const writable = this.#writable[at + i]!;
      this.#bytes[at + i] = (this.#bytes[at + i]! & ~writable) | (byte & writable);
    });
    this.#interrupts.disable(
      (this.#view.getUint16(PCI_COMMAND, true) & PCI_COMMAND_INTX_DISABLE) !== 0,
    );
    return from.length;
  }
}
