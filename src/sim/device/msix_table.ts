/**
 * The BAR with a simulated device's MSI-X table and pending bits. vfio-pci keeps both from its user:
 * the table reads as ones and cannot be written to.
 */

import { VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE } from "../../uapi/mod.ts";
import { refuse } from "../os/refusal.ts";
import type { Bytes } from "../os/bytes.ts";
import type { DeviceRegion } from "../driver/region.ts";
import { MSIX_VECTORS } from "./interrupts.ts";

const SIZE = 4096;
/** PCI_MSIX_ENTRY_SIZE (linux/pci_regs.h). */
const ENTRY_SIZE = 16;
const TABLE_SIZE = MSIX_VECTORS * ENTRY_SIZE;

/** The BAR: the table at its start, the pending bits in its second half. */
export class MsixTable implements DeviceRegion {
  readonly size = SIZE;
  readonly flags: number = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
  /** How many vectors it has. */
  readonly vectors: number = MSIX_VECTORS;
  /** Where in it the pending bits are; none is ever set. */
  readonly pendingAt: number = SIZE / 2;
  /** Which BAR it is. */
  readonly bar: number;

  constructor(bar: number) {
    this.bar = bar;
  }

  pread(at: number, into: Bytes): number {
    const length = this.#within(at, into.length);
    for (let n = 0; n < length; n += 1) into[n] = at + n < TABLE_SIZE ? 0xff : 0;
    return length;
  }

  pwrite(at: number, from: Bytes): number {
    return this.#within(at, from.length);
  }

  #within(at: number, length: number): number {
    if (at >= SIZE) refuse("EINVAL");
    return Math.min(length, SIZE - at);
  }
}
