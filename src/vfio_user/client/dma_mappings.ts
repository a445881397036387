/**
 * An IOAS whose device is a server's: its mappings are the memory that the server may reach, by an
 * fd if the memory has one, else by messages.
 */

import {
  VFIO_USER_DMA_READ,
  VFIO_USER_DMA_WRITE,
  VFIO_USER_F_DMA_REGION_READ,
  VFIO_USER_F_DMA_REGION_WRITE,
} from "../wire/commands.ts";
import { vfioUserDmaRegionAccess } from "../wire/structs.ts";
import {
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
  type IommuIoasMap,
} from "../../uapi/mod.ts";
import { refuse } from "../../sim/os/refusal.ts";
import type { MemoryRange, OwnMemory } from "./own_memory.ts";
import type { RemoteDevice } from "./remote_device.ts";

const SPACE_END = 1n << 64n;

interface DmaMapping {
  readonly iova: bigint;
  readonly size: bigint;
  readonly readable: boolean;
  readonly writeable: boolean;
  readonly memory: MemoryRange;
}

/** The mappings of one IOAS. */
export class DmaMappings {
  readonly #own: OwnMemory;
  readonly #list: DmaMapping[] = [];
  #device: RemoteDevice | null = null;

  constructor(own: OwnMemory) {
    this.#own = own;
  }

  /** Whether a device is attached. */
  get inUse(): boolean {
    return this.#device !== null;
  }

  /** IOVAs and sizes are multiples of this. */
  get alignment(): bigint {
    const pgsizes = this.#device?.connection.server.pgsizes ?? 1n;
    return pgsizes & -pgsizes;
  }

  /** Attaches a device, which gets to know the mappings. */
  attach(device: RemoteDevice): void {
    if (this.#device === device) return;
    if (this.#device !== null) refuse("EBUSY");
    this.#device = device;
    for (const mapping of this.#list) tell(device, mapping);
  }

  /** Detaches the device; the server forgets the mappings with the connection. */
  detach(device: RemoteDevice): void {
    if (this.#device === device) this.#device = null;
  }

  /** IOMMU_IOAS_MAP. */
  map({ flags, user_va, length, iova }: IommuIoasMap): void {
    if ((flags & IOMMU_IOAS_MAP_FIXED_IOVA) === 0) return refuse("EOPNOTSUPP");
    const inside = this.alignment - 1n;
    if (length === 0n || ((iova | length | user_va) & inside) !== 0n) return refuse("EINVAL");
    if (iova + length > SPACE_END) return refuse("EOVERFLOW");
    const end = iova + length;
    if (this.#list.some((one) => one.iova < end && iova < one.iova + one.size)) {
      return refuse("EEXIST");
    }
    const most = this.#device?.connection.server.maxDmaMaps ?? Infinity;
    if (this.#list.length >= most) return refuse("ENOSPC");
    const memory = this.#own.find(user_va, length) ?? refuse("EFAULT");
    const mapping = {
      iova,
      size: length,
      readable: (flags & IOMMU_IOAS_MAP_READABLE) !== 0,
      writeable: (flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0,
      memory,
    };
    if (this.#device !== null) tell(this.#device, mapping);
    this.#list.push(mapping);
  }

  /** IOMMU_IOAS_UNMAP; returns the bytes unmapped. */
  unmap(iova: bigint, length: bigint): bigint {
    const all = iova === 0n && length === SPACE_END - 1n;
    if (length === 0n) return refuse("EINVAL");
    if (!all && iova + length > SPACE_END) return refuse("EOVERFLOW");
    const end = iova + length;
    const within = this.#list.filter((one) => one.iova < end && iova < one.iova + one.size);
    let bytes = 0n;
    for (const mapping of within) {
      if (mapping.iova < iova || mapping.iova + mapping.size > end) return refuse("ENOENT");
      this.#device?.unmap(mapping.iova, mapping.size);
      this.#list.splice(this.#list.indexOf(mapping), 1);
      bytes += mapping.size;
    }
    return bytes === 0n && !all ? refuse("ENOENT") : bytes;
  }

  /**
   * Answers a command of the server's that reads or writes memory.
   *
   * @throws {Refusal} EINVAL for another command, or more data than a message has; EFAULT for
   * memory that is not mapped, EACCES for what it may not do with it.
   */
  answer(command: number, payload: Uint8Array<ArrayBuffer>): readonly Uint8Array[] {
    const head = vfioUserDmaRegionAccess;
    const writes = command === VFIO_USER_DMA_WRITE;
    if ((!writes && command !== VFIO_USER_DMA_READ) || payload.length < head.size) {
      return refuse("EINVAL");
    }
    const { addr, count } = head.unpack(payload);
    const data = payload.subarray(head.size);
    const most = this.#device?.connection.maxRead ?? 0;
    if (count > BigInt(most) || (writes ? BigInt(data.length) !== count : data.length > 0)) {
      return refuse("EINVAL");
    }
    const mapping =
      this.#list.find(({ iova, size }) => iova <= addr && addr + count <= iova + size) ??
        refuse("EFAULT");
    if (!(writes ? mapping.writeable : mapping.readable)) return refuse("EACCES");
    const { memory } = mapping;
    const at = memory.offset + Number(addr - mapping.iova);
    const answer = head.pack({ addr, count });
    const bytes = writes ? data : new Uint8Array(Number(count));
    try {
      if (writes) memory.mapping.write(at, bytes);
      else memory.mapping.read(at, bytes);
    } catch (error) {
      // The memory was closed before it was unmapped from the device.
      if (error instanceof RangeError) return refuse("EFAULT");
      throw error;
    }
    return writes ? [answer] : [answer, bytes];
  }
}

/** Lets the server reach a mapping. */
function tell(device: RemoteDevice, { iova, size, readable, writeable, memory }: DmaMapping): void {
  const { file, offset } = memory;
  const shared = file !== null && device.connection.server.maxMsgFds > 0;
  device.map({
    flags: (readable ? VFIO_USER_F_DMA_REGION_READ : 0) |
      (writeable ? VFIO_USER_F_DMA_REGION_WRITE : 0),
    offset: shared ? file.offset + BigInt(offset) : 0n,
    addr: iova,
    size,
  }, shared ? file.fd : null);
}
