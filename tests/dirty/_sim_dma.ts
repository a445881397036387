/**
 * A simulated device's DMA by pages, as the tables of calls order it.
 */

import type { SimDma } from "../../src/sim/mod.ts";
import type { DeviceDma } from "./type1_cases/device_dma.ts";

/** Writes a byte to each page; pins and unpins. */
export function simDmaInPages(dma: SimDma): DeviceDma {
  return {
    write: (iova, pages) => {
      for (let page = 0n; page < pages; page += 1n) {
        dma.write(iova + page * 4096n, new Uint8Array([1]));
      }
    },
    pin: dma.pin,
    unpin: dma.unpin,
  };
}
