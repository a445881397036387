/**
 * A simulated device's DMA for callers outside the simulation: a refusal becomes
 * the SysError of a kernel call.
 */

import { answer } from "../os/answer.ts";
import type { DmaEngine } from "./dma_engine.ts";
import { DMA_PAGE } from "../iommu/dma_list.ts";
import type { SimDma } from "./sim_dma.ts";

/** The public interface of a DMA engine. */
export function dmaOf(engine: DmaEngine): SimDma {
  const call = (name: string, iova: bigint, act: () => void): void =>
    answer(name, `0x${iova.toString(16)}`, act);
  const each = (iova: bigint, pages: number, act: (iova: bigint) => void): void => {
    for (let page = 0n; page < pages; page += 1n) act(iova + page * DMA_PAGE);
  };
  return {
    get writes() {
      return engine.writes;
    },
    write: (iova, from) => call("vfio_dma_rw", iova, () => engine.write(iova, from)),
    pin: (iova, pages) =>
      call("vfio_pin_pages", iova, () => each(iova, pages, (page) => engine.pin(page))),
    unpin: (iova, pages) =>
      call("vfio_unpin_pages", iova, () => each(iova, pages, (page) => engine.unpin(page))),
  };
}
