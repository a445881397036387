/**
 * A PCI function's configuration space as sysfs shows it to an unprivileged
 * process: the header, read-only.
 */

import { OpenFile } from "./open_file.ts";
import { refuse } from "./refusal.ts";
import type { Bytes } from "./bytes.ts";

const SIZE = 64;

// linux/pci_regs.h
const PCI_VENDOR_ID = 0x00;
const PCI_DEVICE_ID = 0x02;
const PCI_CLASS_REVISION = 0x08;
const PCI_SUBSYSTEM_VENDOR_ID = 0x2c;
const PCI_SUBSYSTEM_ID = 0x2e;

/** The `config` file of a function with a normal header. */
export class ConfigFile extends OpenFile {
  readonly label = "config";
  readonly #bytes: Bytes = new Uint8Array(SIZE);

  constructor(ids: readonly [number, number, number, number], pciClass: number) {
    super();
    const view = new DataView(this.#bytes.buffer);
    view.setUint16(PCI_VENDOR_ID, ids[0], true);
    view.setUint16(PCI_DEVICE_ID, ids[1], true);
    view.setUint32(PCI_CLASS_REVISION, pciClass << 8, true);
    view.setUint16(PCI_SUBSYSTEM_VENDOR_ID, ids[2], true);
    view.setUint16(PCI_SUBSYSTEM_ID, ids[3], true);
  }

  protected release(): void {
    // Memory only.
  }

  ioctl(): number {
    return refuse("ENOTTY");
  }

  override pread(at: number, into: Bytes): number {
    const found = this.#bytes.subarray(Math.min(at, SIZE), Math.min(at + into.length, SIZE));
    into.set(found);
    return found.length;
  }
}
