/**
 * What a simulated device can be made to do to memory.
 *
 * @module
 */

import { answer } from "./_answer.ts";
import { DMA_PAGE } from "./_dma_list.ts";
import type { DmaEngine } from "./_dma_engine.ts";

/** A simulated device's DMA at somebody's wish; addresses are IOVAs, pages have 4096 bytes. */
export interface SimDma {
  /** Writes that it did since it was opened. */
  readonly writes: number;
  /**
   * Writes bytes, as drivers do with vfio_dma_rw.
   *
   * @throws {SysError} EINVAL where nothing is mapped, EPERM where it is
   * read-only, EFAULT where no memory stands behind.
   */
  write(iova: bigint, from: Uint8Array<ArrayBuffer>): void;
  /**
   * Pins pages, as drivers do with vfio_pin_pages.
   *
   * @throws {SysError} As {@linkcode SimDma.write}; ENOMEM beyond what may be locked.
   */
  pin(iova: bigint, pages: number): void;
  /**
   * Unpins pages that it pinned.
   *
   * @throws {SysError} EINVAL where it pinned none.
   */
  unpin(iova: bigint, pages: number): void;
}

/** The DMA of an engine, with errors as a kernel call has them. */
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
