/**
 * The regions of a device in its file: which part of the file is which region, and which fd of the
 * server's has the memory of one that can be mapped.
 */

import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { refuse } from "../../sim/os/refusal.ts";

/** A region begins at its index times this, as in vfio-pci. */
const REGION_SHIFT = 40;
const REGION_SPAN = 2 ** REGION_SHIFT;

/** The largest region, in bytes: then the next begins. */
export const REGION_MAX: bigint = 1n << BigInt(REGION_SHIFT);

/** Where in the file a region begins. */
export function regionOffset(index: number): bigint {
  return BigInt(index) << BigInt(REGION_SHIFT);
}

/** A place in a region. */
export interface RegionPlace {
  /** The region's index. */
  readonly region: number;
  /** Offset in it, in bytes. */
  readonly offset: number;
}

/** The region at a position of the file. */
export function regionAt(position: number | bigint): RegionPlace {
  const at = Number(position);
  if (!Number.isSafeInteger(at) || at < 0) refuse("EINVAL");
  const region = Math.floor(at / REGION_SPAN);
  return { region, offset: at - region * REGION_SPAN };
}

/** The memory of a region. */
export interface RegionMemory {
  /** An fd of the server's. */
  readonly fd: number;
  /** Where in it the region begins, in bytes. */
  readonly offset: bigint;
}

/** The fds of the regions that can be mapped. */
export class RegionFiles {
  readonly #files = new Map<number, RegionMemory>();

  /** Keeps the memory of a region, and closes what was known before. */
  keep(region: number, memory: RegionMemory): void {
    this.forget(region);
    this.#files.set(region, memory);
  }

  /** Closes what is known of a region. */
  forget(region: number): void {
    const known = this.#files.get(region);
    this.#files.delete(region);
    if (known !== undefined) libcKernel().close(known.fd);
  }

  /** The memory of a region. */
  of(region: number): RegionMemory | null {
    return this.#files.get(region) ?? null;
  }

  /** Closes all fds. */
  close(): void {
    for (const region of [...this.#files.keys()]) this.forget(region);
  }
}
