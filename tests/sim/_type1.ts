/**
 * A container's type1 ioctls, one plain function per ioctl.
 */

import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Mapping,
  PROT_READ,
  PROT_WRITE,
} from "../../src/kernel/kernel.ts";
import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  vfioBitmap,
  vfioIommuType1DirtyBitmap,
  vfioIommuType1DirtyBitmapGet,
  vfioIommuType1DmaMap,
  vfioIommuType1DmaUnmap,
} from "../../src/uapi/mod.ts";
import { type AnyClient, bytes } from "./_device_client.ts";

export const RW: number = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

/** The size of `count` pages in bytes. */
export function pages(count: number): bigint {
  return BigInt(count) * 4096n;
}

/** The container of a client; pages are counted from IOVA 0. */
export class Type1Client implements Disposable {
  readonly client: AnyClient;
  readonly #memory: Mapping[] = [];
  readonly #bitmap: Mapping;

  constructor(client: AnyClient) {
    this.client = client;
    this.#bitmap = this.#allocate(1 << 20);
  }

  #allocate(size: number): Mapping {
    const memory = this.client.kernel.mmap(size, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
    this.#memory.push(memory);
    return memory;
  }

  #ioctl(request: number, arg: Uint8Array<ArrayBuffer>): void {
    this.client.kernel.ioctl(this.client.container, request, arg);
  }

  /** Maps new memory, and returns it. */
  map(first: number, count: number): Mapping {
    const memory = this.#allocate(count * 4096);
    this.mapAt(pages(first), pages(count), memory.address);
    return memory;
  }

  mapAt(iova: bigint, size: bigint, vaddr: bigint, flags: number = RW): void {
    this.#ioctl(VFIO_IOMMU_MAP_DMA, vfioIommuType1DmaMap.pack({ flags, vaddr, iova, size }));
  }

  unmap(first: number, count: number): number {
    const arg = vfioIommuType1DmaUnmap.pack({ iova: pages(first), size: pages(count) });
    this.#ioctl(VFIO_IOMMU_UNMAP_DMA, arg);
    return Number(vfioIommuType1DmaUnmap.unpack(arg).size / 4096n);
  }

  start(): void {
    this.#ioctl(
      VFIO_IOMMU_DIRTY_PAGES,
      vfioIommuType1DirtyBitmap.pack({ flags: VFIO_IOMMU_DIRTY_PAGES_FLAG_START }),
    );
  }

  stop(): void {
    this.#ioctl(
      VFIO_IOMMU_DIRTY_PAGES,
      vfioIommuType1DirtyBitmap.pack({ flags: VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP }),
    );
  }

  /** GET_BITMAP into memory that was filled with `prefill`; returns the words of the bitmap. */
  get(first: number, count: number, prefill = 0): bigint[] {
    const { data, words } = this.#prepare(count, prefill);
    const get = vfioIommuType1DirtyBitmapGet.pack({
      iova: pages(first),
      size: pages(count),
      bitmap: data,
    });
    this.#ioctl(
      VFIO_IOMMU_DIRTY_PAGES,
      vfioIommuType1DirtyBitmap.pack({ flags: VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, data: get }),
    );
    return words();
  }

  /** UNMAP_DMA with GET_DIRTY_BITMAP; returns the number of pages unmapped, and the bitmap. */
  unmapWithBitmap(first: number, count: number): { unmapped: number; words: bigint[] } {
    const { data, words } = this.#prepare(count, 0);
    const arg = vfioIommuType1DmaUnmap.pack({
      flags: VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
      iova: pages(first),
      size: pages(count),
      data: vfioBitmap.pack(data),
    });
    this.#ioctl(VFIO_IOMMU_UNMAP_DMA, arg);
    return {
      unmapped: Number(vfioIommuType1DmaUnmap.unpack(arg).size / 4096n),
      words: words(),
    };
  }

  #prepare(count: number, prefill: number): {
    data: { pgsize: bigint; size: bigint; data: bigint };
    words: () => bigint[];
  } {
    const length = Math.ceil(count / 64) * 8;
    this.#bitmap.write(0, bytes(length).fill(prefill));
    return {
      data: { pgsize: 4096n, size: BigInt(length), data: this.#bitmap.address },
      words: () => {
        const back = bytes(length);
        this.#bitmap.read(0, back);
        const view = new DataView(back.buffer);
        return Array.from({ length: length / 8 }, (_, i) => view.getBigUint64(i * 8, true));
      },
    };
  }

  close(): void {
    for (const memory of this.#memory) memory.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
