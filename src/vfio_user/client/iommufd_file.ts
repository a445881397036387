/**
 * /dev/iommu of a kernel whose device is a server's: address spaces, as far as this toolkit uses
 * them.
 */

import {
  IOMMU_DESTROY,
  IOMMU_GET_HW_INFO,
  IOMMU_HWPT_ALLOC,
  IOMMU_IOAS_ALLOC,
  IOMMU_IOAS_IOVA_RANGES,
  IOMMU_IOAS_MAP,
  IOMMU_IOAS_UNMAP,
  iommuDestroy,
  iommuIoasAlloc,
  iommuIoasIovaRanges,
  iommuIoasMap,
  iommuIoasUnmap,
  iommuIovaRange,
} from "../../uapi/mod.ts";
import { OpenFile } from "../../sim/os/open_file.ts";
import { refuse } from "../../sim/os/refusal.ts";
import { type Argument, bytesToUser, sizedFromUser } from "../../sim/os/user.ts";
import { DmaMappings } from "./dma_mappings.ts";
import type { OwnMemory } from "./own_memory.ts";

/** The path of the node. */
export const IOMMUFD_NODE = "/dev/iommu";

const ULONG_MAX = (1n << 64n) - 1n;

/** An open iommufd. */
export class IommufdFile extends OpenFile {
  readonly label = IOMMUFD_NODE;
  readonly #memory: OwnMemory;
  readonly #spaces = new Map<number, DmaMappings>();
  #nextId = 1;

  constructor(memory: OwnMemory) {
    super();
    this.#memory = memory;
  }

  protected release(): void {
    this.#spaces.clear();
  }

  /** An id for another object. */
  takeId(): number {
    return this.#nextId++;
  }

  /** The IOAS of an id. */
  space(id: number): DmaMappings {
    return this.#spaces.get(id) ?? refuse("ENOENT");
  }

  ioctl(request: number, arg: Argument): number {
    switch (request) {
      case IOMMU_IOAS_ALLOC:
        return this.#allocate(arg);
      case IOMMU_DESTROY:
        return this.#destroy(arg);
      case IOMMU_IOAS_IOVA_RANGES:
        return this.#ranges(arg);
      case IOMMU_IOAS_MAP: {
        const argument = sizedFromUser(iommuIoasMap, arg);
        this.space(argument.ioas_id).map(argument);
        return 0;
      }
      case IOMMU_IOAS_UNMAP: {
        const argument = sizedFromUser(iommuIoasUnmap, arg);
        const length = this.space(argument.ioas_id).unmap(argument.iova, argument.length);
        bytesToUser(arg, 0, iommuIoasUnmap.pack({ ...argument, length }));
        return 0;
      }
      case IOMMU_GET_HW_INFO:
      case IOMMU_HWPT_ALLOC:
        // There is no IOMMU hardware behind a server's device, as with mediated devices.
        return refuse("ENOENT");
      default:
        return refuse("ENOTTY");
    }
  }

  #allocate(arg: Argument): number {
    const argument = sizedFromUser(iommuIoasAlloc, arg);
    if (argument.flags !== 0) return refuse("EOPNOTSUPP");
    const out_ioas_id = this.takeId();
    this.#spaces.set(out_ioas_id, new DmaMappings(this.#memory));
    bytesToUser(arg, 0, iommuIoasAlloc.pack({ ...argument, out_ioas_id }));
    return 0;
  }

  #destroy(arg: Argument): number {
    const { id } = sizedFromUser(iommuDestroy, arg);
    if (this.space(id).inUse) return refuse("EBUSY");
    this.#spaces.delete(id);
    return 0;
  }

  /** Any address can be mapped. */
  #ranges(arg: Argument): number {
    const argument = sizedFromUser(iommuIoasIovaRanges, arg);
    const { alignment } = this.space(argument.ioas_id);
    if (argument.num_iovas > 0) {
      this.#memory.store(
        argument.allowed_iovas,
        iommuIovaRange.pack({ start: 0n, last: ULONG_MAX }),
      );
    }
    bytesToUser(
      arg,
      0,
      iommuIoasIovaRanges.pack({ ...argument, num_iovas: 1, out_iova_alignment: alignment }),
    );
    return argument.num_iovas > 0 ? 0 : refuse("EMSGSIZE");
  }
}
