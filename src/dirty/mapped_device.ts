/**
 * A device, and memory that its DMA can reach.
 *
 * @module
 */

import { cleanly } from "../base/cleanup.ts";
import type { Kernel, Mapping } from "../kernel/kernel.ts";
import { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE } from "../uapi/mod.ts";
import type { AddressSpace, AddressSpaceInfo } from "../vfio/dma/address_space.ts";
import { smallestPage } from "../vfio/device/answer_error.ts";
import { noIoas } from "../vfio/reasons/cdev_reasons.ts";
import type { VfioDevice } from "../vfio/device/device.ts";
import { type DeviceName, parseDeviceName } from "../vfio/open/device_name.ts";
import { DmaMemory } from "../vfio/dma/dma_memory.ts";
import type { IovaMapping } from "../vfio/dma/iova.ts";
import { kernelOf } from "../vfio/open/kernel_for.ts";
import { type LentFds, lentFds } from "../vfio/open/lent_fds.ts";
import type { SharedTrace } from "../trace/mod.ts";
import { openVfioDevice, type OpenVfioOptions } from "../vfio/open/open.ts";
import { noContainer } from "../vfio/reasons/reasons.ts";
import { UnsupportedError } from "../vfio/reasons/unsupported_error.ts";
import { DeviceMemory, type MemoryPart } from "./device_memory.ts";
import { mapMemoryFile, type MemoryFile } from "./memory_file.ts";
import { DirtyRangeError } from "./range_error.ts";
import { checkRanges } from "./ranges.ts";

/** Smallest page size of any IOMMU, in bytes. */
const LEAST_PAGE = 4096;

/** A range to map. New memory is allocated for it, unless the caller has some. */
export interface RangeToMap extends IovaMapping, MemoryFile {
  /**
   * The address of the caller's memory in this process, instead of a file. The caller vouches for
   * it: it must stay mapped as long as the device is open.
   */
  readonly address?: bigint | undefined;
}

/** What a device's DMA can reach. */
export interface MemoryOptions {
  /** Ranges to map. */
  readonly maps?: readonly RangeToMap[] | undefined;
  /**
   * Ranges that are mapped already, in the borrowed address space of `fd:N`. If their memory is named
   * too, it can be read and written here.
   */
  readonly mappings?: readonly (IovaMapping & MemoryFile)[] | undefined;
  /** Whether to use huge pages for new memory. */
  readonly hugepages?: boolean | undefined;
}

/** How to open a {@linkcode MappedDevice}. */
export interface MappedDeviceOptions extends OpenVfioOptions, MemoryOptions {
  /** The kernel that has the device, if the name does not imply it. */
  readonly kernel?: Kernel | undefined;
  /** The fd of a channel to a server of the device (`vfiokit/server`), which is reached through it. */
  readonly channel?: number | undefined;
  /** Where to report each call to the kernel. */
  readonly trace?: SharedTrace | undefined;
}

/** A range that was mapped here, to memory that was allocated for it. */
export interface SessionMapping extends IovaMapping {
  /** Bytes from the start of the memory. */
  readonly offset: number;
}

/** The fds of a device with its memory; null for those that it does not have. */
export interface SessionFds extends LentFds {
  /** The fd of the memory; each mapping is a part of it. */
  readonly memory: number | null;
}

/**
 * An open device with memory mapped for its DMA. Closing it unmaps what it mapped and closes what
 * it opened, even if a step of that fails.
 *
 * @example
 * ```ts
 * import { MappedDevice } from "vfiokit/dirty";
 * import assert from "node:assert/strict";
 *
 * using mapped = MappedDevice.open("sim:trapped", {
 *   maps: [{ iova: 0x100000n, size: 1n << 20n }],
 * });
 * assert.equal(mapped.space.unmap(0x100000n, 1n << 20n), 1n << 20n);
 * assert.deepEqual(mapped.mappings, []);
 * ```
 */
export class MappedDevice implements Disposable {
  /** The device. */
  readonly device: VfioDevice;
  /** What its DMA can reach: a type1 container, or an IOAS. */
  readonly space: AddressSpace;
  /** Smallest page size that can be mapped, in bytes. */
  readonly pgsize: number;
  /** The memory of {@linkcode MappedDevice.mapped}; null if none was allocated. */
  readonly memory: DmaMemory | null;
  /** The ranges that are parts of `memory`, by ascending iova. */
  readonly mapped: readonly SessionMapping[];
  /** All memory that was mapped here, by IOVA. */
  readonly contents: DeviceMemory;
  readonly #opened: DisposableStack;

  private constructor(
    opened: DisposableStack,
    parts: Pick<MappedDevice, "device" | "space" | "pgsize" | "memory" | "contents">,
  ) {
    this.#opened = opened;
    this.device = parts.device;
    this.space = parts.space;
    this.pgsize = parts.pgsize;
    this.memory = parts.memory;
    this.contents = parts.contents;
    this.mapped = parts.contents.parts
      .filter(({ memory }) => memory !== null && memory === parts.memory?.mapping)
      .map(({ iova, size, offset }) => ({ iova, size, offset }));
  }

  /**
   * Opens a device by name, allocates memory and maps it. If a step fails, the earlier ones are
   * undone.
   *
   * @param name As for `openDevice`: `0000:3b:00.1`, a UUID, `fd:3`, `sim:…`.
   * @throws {DirtyRangeError} If a range is empty, not in whole pages, or overlaps another.
   * @throws {DmaError} If memory cannot be allocated or mapped.
   * @throws {UnsupportedError} If the device cannot be opened, or its address
   * space is not known.
   * @throws {BusyError} If another process has the device or its group open.
   * @throws {DeviceNameError} If the name is not a device name.
   * @throws {AnswerError} If the kernel's or the driver's answer cannot be true.
   * @throws {SysError} If the kernel refuses for another reason.
   */
  static open(name: string, options: MappedDeviceOptions = {}): MappedDevice {
    const parsed = parseDeviceName(name);
    // Before the device is opened, which may reset it; its IOMMU may have larger pages.
    const ranges = [...options.maps ?? [], ...options.mappings ?? []];
    checkRanges(ranges, LEAST_PAGE);
    demandMappable(options);
    return cleanly(() => MappedDevice.#open(parsed, options, ranges));
  }

  static #open(
    parsed: DeviceName,
    options: MappedDeviceOptions,
    ranges: readonly IovaMapping[],
  ): MappedDevice {
    using opened = new DisposableStack();
    const kernel = kernelOf(parsed, options);
    const device = opened.use(openVfioDevice(kernel, parsed, options));
    const { space } = device;
    if (space === null) {
      const reason = device.via === "cdev" ? noIoas(device.label) : noContainer(device.label);
      throw new UnsupportedError([reason]);
    }
    const pgsize = pageSize(space.info());
    checkRanges(ranges, pgsize);
    const maps = checkRanges(options.maps ?? [], pgsize);
    const known = knowAll(opened, { kernel, space }, options.mappings ?? []);
    const memory = allocate(kernel, maps.filter(needsMemory), options.hugepages);
    if (memory !== null) opened.use(memory);
    const made = mapAll(opened, { kernel, space }, memory, maps);
    const contents = new DeviceMemory([...known, ...made].sort((a, b) => a.iova < b.iova ? -1 : 1));
    return new MappedDevice(opened.move(), { device, space, pgsize, memory, contents });
  }

  /** The known mappings: made here, or added by the caller. */
  get mappings(): readonly IovaMapping[] {
    return this.space.mappings;
  }

  /** The fds, to hand to another process. */
  get fds(): SessionFds {
    return { ...lentFds(this.device), memory: this.memory?.fd?.number ?? null };
  }

  /**
   * Unmaps and closes. Closing again does nothing.
   *
   * @throws {SysError} If a step failed; the other steps were still done.
   */
  close(): void {
    cleanly(() => this.#opened.dispose());
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** The smallest page that the IOMMU maps. */
function pageSize({ pgsizes }: AddressSpaceInfo): number {
  if (pgsizes === 0n) return LEAST_PAGE;
  return Math.max(LEAST_PAGE, smallestPage(pgsizes, "the IOMMU", "iova_pgsizes"));
}

/**
 * Refuses memory of a size that no process has room for, and that a Number cannot hold.
 *
 * @throws {DirtyRangeError} If it is that large.
 */
function demandMappable({ maps = [], mappings = [] }: MemoryOptions): void {
  let size = 0n;
  for (const range of [...maps, ...mappings.filter((mapping) => !needsMemory(mapping))]) {
    size += range.size;
    if (size <= BigInt(Number.MAX_SAFE_INTEGER)) continue;
    throw new DirtyRangeError(
      `Cannot map ${size} bytes of memory: no process has room for so many`,
    );
  }
}

function allocate(
  kernel: Kernel,
  maps: readonly IovaMapping[],
  hugepages: boolean | undefined,
): DmaMemory | null {
  const size = maps.reduce((sum, mapping) => sum + mapping.size, 0n);
  return size === 0n ? null : DmaMemory.allocate(kernel, Number(size), { hugepages });
}

function needsMemory({ fd, file, address }: RangeToMap): boolean {
  return fd === undefined && file === undefined && address === undefined;
}

/** What memory is mapped in. */
interface MappableDevice {
  readonly kernel: Kernel;
  readonly space: AddressSpace;
}

/** Takes mappings of others; returns those whose memory was named. */
function knowAll(
  opened: DisposableStack,
  { kernel, space }: MappableDevice,
  mappings: NonNullable<MemoryOptions["mappings"]>,
): MemoryPart[] {
  return mappings.flatMap((mapping) => {
    space.know(mapping);
    const memory = mapMemoryFile(kernel, mapping);
    if (memory === null) return [];
    opened.use(memory);
    const { iova, size } = mapping;
    return [{ iova, size, memory, offset: 0 }];
  });
}

function mapAll(
  opened: DisposableStack,
  { kernel, space }: MappableDevice,
  memory: DmaMemory | null,
  maps: readonly RangeToMap[],
): MemoryPart[] {
  const flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
  let next = 0;
  return maps.map((map): MemoryPart => {
    const { iova, size } = map;
    const part = needsMemory(map)
      ? { iova, size, memory: memory!.mapping, offset: next }
      : { iova, size, memory: callersMemory(opened, kernel, map), offset: 0 };
    if (needsMemory(map)) next += Number(size);
    const vaddr = part.memory === null ? map.address! : part.memory.address + BigInt(part.offset);
    space.map({ iova, size, vaddr, flags });
    // Mappings that were unmapped in the meantime are already gone.
    opened.defer(() => {
      if (space.mappings.some((known) => known.iova === iova)) space.unmap(iova, size);
    });
    return part;
  });
}

/** Maps the caller's file into this process; null if the caller gave an address. */
function callersMemory(
  opened: DisposableStack,
  kernel: Kernel,
  range: RangeToMap,
): Mapping | null {
  const { iova, fd, file, address } = range;
  if (address !== undefined && (fd !== undefined || file !== undefined)) {
    throw new TypeError(
      `Cannot map 0x${iova.toString(16)}: give the memory's file or its address, not both`,
    );
  }
  const memory = mapMemoryFile(kernel, range);
  if (memory !== null) opened.use(memory);
  return memory;
}
