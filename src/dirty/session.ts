/**
 * A device, memory for its DMA, and the tracking of what it dirties, together.
 *
 * @module
 */

import type { Kernel } from "../kernel/kernel.ts";
import { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE } from "../uapi/mod.ts";
import type { Type1Container } from "../vfio/container.ts";
import type { VfioDevice } from "../vfio/device.ts";
import { parseDeviceName } from "../vfio/device_name.ts";
import { DmaMemory } from "../vfio/dma_memory.ts";
import type { IovaMapping } from "../vfio/iova.ts";
import { kernelFor } from "../vfio/kernel_for.ts";
import { openVfioDevice, type OpenVfioOptions } from "../vfio/open.ts";
import { noContainer } from "../vfio/reasons.ts";
import type { Type1Info } from "../vfio/type1_info.ts";
import { UnsupportedError } from "../vfio/unsupported.ts";
import { chooseTracker } from "./_choose_tracker.ts";
import { checkRanges } from "./ranges.ts";
import type { DirtyTracker, TrackerName } from "./tracker.ts";

/** Bytes of the smallest page of any IOMMU. */
const LEAST_PAGE = 4096;

/** How to open a {@linkcode DirtySession}. */
export interface DirtySessionOptions extends OpenVfioOptions {
  /** Ranges to allocate memory for, and to map. */
  readonly maps?: readonly IovaMapping[] | undefined;
  /** Ranges that are mapped already, in the borrowed container of `fd:N`. */
  readonly mappings?: readonly IovaMapping[] | undefined;
  /** Whether the memory is to be of huge pages. */
  readonly hugepages?: boolean | undefined;
  /**
   * Who tracks: the `type1` IOMMU, the `device` by its log, or `auto`: the device
   * where it has a log that the kernel reports, else type1; `auto` where left out.
   */
  readonly tracker?: TrackerName | "auto" | undefined;
  /** The kernel that the device lives in, where its name does not say. */
  readonly kernel?: Kernel | undefined;
}

/** A range that the session mapped, and where its memory is. */
export interface SessionMapping extends IovaMapping {
  /** Bytes from the start of the session's memory. */
  readonly offset: number;
}

/** The fds of a session; null for those that it does not have. */
export interface SessionFds {
  /** The device's. */
  readonly device: number;
  /** Its group's. */
  readonly group: number | null;
  /** Its container's. */
  readonly container: number;
  /** That of the memory, of which each mapping has a part. */
  readonly memory: number | null;
}

/**
 * An open device with memory mapped for its DMA, and a tracker for what it
 * dirties; tracking has not started. Closing it stops the tracking, unmaps what
 * it mapped and closes what it opened, whatever of that fails.
 *
 * @example
 * ```ts
 * import { DirtySession } from "./session.ts";
 * import assert from "node:assert/strict";
 *
 * using session = DirtySession.open("sim:trapped?pin=2", {
 *   maps: [{ iova: 0x100000n, size: 1n << 20n }],
 * });
 * session.tracker.start();
 * const reading = session.tracker.read({ twice: true });
 * assert.deepEqual([reading.dirtyPages, reading.pinnedPages, reading.pages], [2, 2, 256]);
 * ```
 */
export class DirtySession implements Disposable {
  /** The device. */
  readonly device: VfioDevice;
  /** Its container. */
  readonly container: Type1Container;
  /** Tracks what it dirties. */
  readonly tracker: DirtyTracker;
  /** Why it is this tracker, for people; null where it was asked for by name. */
  readonly trackerReason: string | null;
  /** The memory of {@linkcode DirtySession.mapped}; null where nothing was to be mapped. */
  readonly memory: DmaMemory | null;
  /** What this session mapped, by ascending iova. */
  readonly mapped: readonly SessionMapping[];
  readonly #opened: DisposableStack;

  private constructor(
    opened: DisposableStack,
    parts: Pick<
      DirtySession,
      "device" | "container" | "tracker" | "trackerReason" | "memory" | "mapped"
    >,
  ) {
    this.#opened = opened;
    this.device = parts.device;
    this.container = parts.container;
    this.tracker = parts.tracker;
    this.trackerReason = parts.trackerReason;
    this.memory = parts.memory;
    this.mapped = parts.mapped;
  }

  /**
   * Opens a device by name, allocates memory and maps it. What was done is
   * undone where a later step fails.
   *
   * @param name As for `openDevice`: `0000:3b:00.1`, a UUID, `fd:3`, `sim:…`.
   * @throws {DirtyRangeError} If a range is empty, not in whole pages, or over another.
   * @throws {DmaError} If memory cannot be allocated or mapped: why, and what to do.
   * @throws {UnsupportedError} If the device cannot be opened, its container is
   * not known, or the wanted tracker is none that there is.
   * @throws {BusyError} If somebody has its group open.
   * @throws {DeviceNameError} If the name is none.
   * @throws {AnswerError} If the container's or the driver's answer cannot be true.
   * @throws {SysError} If the kernel refuses for another reason.
   */
  static open(name: string, options: DirtySessionOptions = {}): DirtySession {
    const parsed = parseDeviceName(name);
    // Before the device is opened, which may reset it; its IOMMU may have larger pages.
    const ranges = [...options.maps ?? [], ...options.mappings ?? []];
    checkRanges(ranges, LEAST_PAGE);
    using opened = new DisposableStack();
    const kernel = options.kernel ?? kernelFor(parsed);
    const device = opened.use(openVfioDevice(kernel, parsed, options));
    const { container } = device;
    if (container === null) throw new UnsupportedError([noContainer(device.label)]);
    const pgsize = pageSize(container.info());
    checkRanges(ranges, pgsize);
    const maps = checkRanges(options.maps ?? [], pgsize);
    for (const mapping of options.mappings ?? []) container.know(mapping);
    const memory = allocate(kernel, maps, options.hugepages);
    if (memory !== null) opened.use(memory);
    const mapped = mapAll(opened, container, memory, maps);
    const { tracker, reason: trackerReason } = chooseTracker(
      options.tracker ?? "auto",
      device,
      container,
      pgsize,
    );
    // It is stopped first of all.
    opened.use(tracker);
    const parts = { device, container, tracker, trackerReason, memory, mapped };
    return new DirtySession(opened.move(), parts);
  }

  /** What is mapped, and read: the session's own, and what it was told of. */
  get mappings(): readonly IovaMapping[] {
    return this.container.mappings;
  }

  /** The fds, to hand to another process. */
  get fds(): SessionFds {
    return {
      device: this.device.fd.number,
      group: this.device.group?.fd.number ?? null,
      container: this.container.fd.number,
      memory: this.memory?.fd?.number ?? null,
    };
  }

  /**
   * Stops, unmaps and closes. Closing again does nothing.
   *
   * @throws {SysError} If a part of it failed; the rest was done all the same.
   */
  close(): void {
    this.#opened.dispose();
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** The smallest page that the IOMMU maps. */
function pageSize({ pgsizes }: Type1Info): number {
  return pgsizes === 0n ? LEAST_PAGE : Number(pgsizes & -pgsizes);
}

function allocate(
  kernel: Kernel,
  maps: readonly IovaMapping[],
  hugepages: boolean | undefined,
): DmaMemory | null {
  const size = maps.reduce((sum, mapping) => sum + mapping.size, 0n);
  return size === 0n ? null : DmaMemory.allocate(kernel, Number(size), { hugepages });
}

function mapAll(
  opened: DisposableStack,
  container: Type1Container,
  memory: DmaMemory | null,
  maps: readonly IovaMapping[],
): SessionMapping[] {
  const flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
  let offset = 0;
  return maps.map(({ iova, size }) => {
    const mapping = { iova, size, offset };
    container.map({ iova, size, vaddr: memory!.address + BigInt(offset), flags });
    // What was unmapped meanwhile is gone already.
    opened.defer(() => {
      if (container.mappings.some((known) => known.iova === iova)) container.unmap(iova, size);
    });
    offset += Number(size);
    return mapping;
  });
}
