/**
 * What a simulated device can be made to do to memory.
 *
 * @module
 */

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
