/**
 * How the device under test is told to write to memory, and to pin it.
 *
 * @module
 */

import { type Kernel, O_WRONLY } from "../../../src/kernel/kernel.ts";

/** A device that does as it is told. Addresses are IOVAs, pages have 4096 bytes. */
export interface DeviceDma {
  /** Writes one byte to each of these pages (vfio_dma_rw). */
  write(iova: bigint, pages: number): void;
  /** Pins pages (vfio_pin_pages). */
  pin(iova: bigint, pages: number): void;
  /** Unpins them. */
  unpin(iova: bigint, pages: number): void;
}

/**
 * A driver that takes its orders through a file of sysfs: `write IOVA PAGES`,
 * `pin IOVA PAGES`, `unpin IOVA PAGES`, with IOVA in hexadecimal.
 */
export function dmaThroughFile(kernel: Kernel, path: string): DeviceDma {
  const order = (verb: string) => (iova: bigint, pages: number): void => {
    const fd = kernel.open(path, O_WRONLY);
    try {
      kernel.write(fd, new TextEncoder().encode(`${verb} 0x${iova.toString(16)} ${pages}\n`));
    } finally {
      kernel.close(fd);
    }
  };
  return { write: order("write"), pin: order("pin"), unpin: order("unpin") };
}
