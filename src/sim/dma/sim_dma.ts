/**
 * DMA of a simulated device on request.
 *
 * @module
 */

/** A simulated device's DMA on request; addresses are IOVAs, a page has 4096 bytes. */
export interface SimDma {
  /** Writes since the device was opened. */
  readonly writes: number;
  /**
   * Writes bytes, as drivers do with vfio_dma_rw.
   *
   * @throws {SysError} EINVAL if nothing is mapped, EPERM if the mapping is
   * read-only, EFAULT if there is no memory at its address.
   */
  write(iova: bigint, from: Uint8Array<ArrayBuffer>): void;
  /**
   * Pins pages, as drivers do with vfio_pin_pages.
   *
   * @throws {SysError} As {@linkcode SimDma.write}; ENOMEM beyond the limit of locked memory.
   */
  pin(iova: bigint, pages: number): void;
  /**
   * Unpins pages that the device pinned.
   *
   * @throws {SysError} EINVAL if the device has not pinned a page.
   */
  unpin(iova: bigint, pages: number): void;
}
