/**
 * The client's memory that the device may reach: DMA_MAP and DMA_UNMAP.
 */

import { cleanedUp, cleanlyThen } from "../../base/cleanup.ts";
import type { Kernel, Mapping } from "../../kernel/kernel.ts";
import { VFIO_DMA_UNMAP_FLAG_ALL } from "../../uapi/mod.ts";
import type { AddressSpace } from "../../vfio/dma/address_space.ts";
import {
  VFIO_USER_F_DMA_REGION_READ,
  VFIO_USER_F_DMA_REGION_WRITE,
} from "../../vfio_user/wire/commands.ts";
import { vfioUserDmaMap, vfioUserDmaUnmap } from "../../vfio_user/wire/structs.ts";
import { type DmaMessages, FdMemory, MessageMemory } from "./client_memory.ts";
import type { OpenDevice } from "./open_device.ts";
import { refuse } from "./refuse.ts";
import { SharedFiles } from "./shared_files.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const ACCESS = VFIO_USER_F_DMA_REGION_READ | VFIO_USER_F_DMA_REGION_WRITE;
/** The end of all addresses. */
const TOP = 1n << 64n;
/** As many as type1 allows. */
export const MOST_MAPPINGS = 65535;

/** A mapping of the client's. */
interface ClientMapping {
  readonly address: bigint;
  readonly size: bigint;
  readonly memory: Mapping;
  readonly released: () => void;
}

/** The mappings of one client. */
export class ClientDma {
  readonly #device: OpenDevice;
  readonly #messages: DmaMessages;
  readonly #own: Kernel;
  readonly #files: SharedFiles;
  readonly #mappings = new Map<bigint, ClientMapping>();

  /** @param own The kernel of this process, which has the client's fds. */
  constructor(device: OpenDevice, own: Kernel, messages: DmaMessages) {
    this.#device = device;
    this.#own = own;
    this.#messages = messages;
    this.#files = new SharedFiles(own);
  }

  get #space(): AddressSpace {
    return this.#device.vfio.space ?? refuse("EOPNOTSUPP");
  }

  /** DMA_MAP; takes the fd out of `fds`. */
  map(payload: Bytes, fds: number[]): void {
    if (payload.length !== vfioUserDmaMap.size || fds.length > 1) refuse("EINVAL");
    const { flags, offset, addr, size } = vfioUserDmaMap.unpack(payload);
    // A trace has no memory behind its mappings.
    const sim = this.#device.sim ?? refuse("EOPNOTSUPP");
    if ((flags & ~ACCESS) !== 0 || (flags & ACCESS) === 0) refuse("EINVAL");
    if (size === 0n || addr + size > TOP) refuse("EINVAL");
    if (offset + size > BigInt(Number.MAX_SAFE_INTEGER)) refuse("EINVAL");
    if (this.#mappings.size === MOST_MAPPINGS) refuse("ENOSPC");
    const file = fds.length > 0 ? this.#files.take(fds[0]!) : null;
    fds.length = 0;
    const memory = sim.mapOutside(
      Number(size),
      file === null
        ? new MessageMemory(this.#messages, addr)
        : new FdMemory(this.#own, file.fd, Number(offset)),
    );
    const released = (): void => cleanlyThen(() => memory.close(), () => file?.release());
    try {
      this.#space.map({ iova: addr, size, vaddr: memory.address, flags: flags & ACCESS });
    } catch (error) {
      throw cleanedUp(error, released);
    }
    this.#mappings.set(addr, { address: addr, size, memory, released });
  }

  /** DMA_UNMAP; returns the reply's payload. */
  unmap(payload: Bytes): Bytes {
    if (payload.length !== vfioUserDmaUnmap.size) refuse("EINVAL");
    const { argsz, flags, addr, size } = vfioUserDmaUnmap.unpack(payload);
    if (argsz < vfioUserDmaUnmap.size) refuse("EINVAL");
    if (flags === VFIO_DMA_UNMAP_FLAG_ALL) {
      if (addr !== 0n || size !== 0n) refuse("EINVAL");
      return vfioUserDmaUnmap.pack({ flags, addr, size: this.#unmapRange(0n, TOP) });
    }
    if (flags !== 0) refuse("EINVAL");
    return vfioUserDmaUnmap.pack({ flags, addr, size: this.#unmapRange(addr, addr + size) });
  }

  /** Unmaps what lies in a range, as type1 does: nothing may be cut, and none need be there. */
  #unmapRange(from: bigint, to: bigint): bigint {
    const touched = [...this.#mappings.values()]
      .filter(({ address, size }) => address < to && from < address + size);
    if (touched.some(({ address, size }) => address < from || to < address + size)) {
      return refuse("EINVAL");
    }
    let size = 0n;
    for (const mapping of touched) {
      this.#unmap(mapping);
      size += mapping.size;
    }
    return size;
  }

  #unmap(mapping: ClientMapping): void {
    this.#mappings.delete(mapping.address);
    cleanlyThen(
      () => void this.#space.unmap(mapping.address, mapping.size),
      mapping.released,
    );
  }

  /**
   * The client is gone, and its memory with it: first of all, as the device may still write to it
   * while it is unmapped.
   */
  close(): void {
    const mappings = [...this.#mappings.values()];
    this.#mappings.clear();
    cleanlyThen(() => {
      for (const { released } of mappings) released();
    }, () => {
      for (const { address, size } of mappings) this.#space.unmap(address, size);
    });
  }
}
