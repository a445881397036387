/**
 * A device, memory for its DMA, and a tracker of its dirty pages.
 *
 * @module
 */

import {
  addCleanup,
  cleanly,
  cleanlyThen,
  cleanupErrors,
  ownCleanupErrors,
} from "../base/cleanup.ts";
import type { AddressSpace } from "../vfio/dma/address_space.ts";
import { noType1Container } from "../vfio/reasons/cdev_reasons.ts";
import type { VfioDevice } from "../vfio/device/device.ts";
import { parseDeviceName } from "../vfio/open/device_name.ts";
import type { DmaMemory } from "../vfio/dma/dma_memory.ts";
import type { IovaMapping } from "../vfio/dma/iova.ts";
import { kernelOf } from "../vfio/open/kernel_for.ts";
import { UnsupportedError } from "../vfio/reasons/unsupported_error.ts";
import { allRefuse, chooseTracker, NeedsContainer, whyOthersDoNot } from "./_choose_tracker.ts";
import type { DeviceMemory } from "./device_memory.ts";
import {
  MappedDevice,
  type MappedDeviceOptions,
  type SessionFds,
  type SessionMapping,
} from "./mapped_device.ts";
import type { DirtyTracker, TrackerName } from "./tracker.ts";

/** How to open a {@linkcode DirtySession}. */
export interface DirtySessionOptions extends MappedDeviceOptions {
  /**
   * The tracker: `type1`, for which the device is opened by its group; `device`, the device's own
   * log; `iommufd`, for which it is opened by its character device; or `auto` (the default): the
   * first of the device's log, its iommufd and type1 that tracks.
   */
  readonly tracker?: TrackerName | "auto" | undefined;
}

/**
 * An open device with memory mapped for its DMA, and a tracker of its dirty pages, not yet started.
 * Closing it stops the tracker, unmaps what it mapped and closes what it opened, even if a step of
 * that fails.
 *
 * @example
 * ```ts
 * import { DirtySession } from "vfiokit/dirty";
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
  /** The tracker of the device's dirty pages. */
  readonly tracker: DirtyTracker;
  /** Why this tracker was chosen, as text; null if the caller named it. */
  readonly trackerReason: string | null;
  readonly #mapped: MappedDevice;

  private constructor(
    mapped: MappedDevice,
    tracker: DirtyTracker,
    trackerReason: string | null,
  ) {
    this.#mapped = mapped;
    this.tracker = tracker;
    this.trackerReason = trackerReason;
  }

  /**
   * Opens a device by name, allocates memory and maps it. If a step fails, the earlier ones are
   * undone. If neither the device nor its iommufd tracks and the caller did not say how to open it,
   * it is opened by its group, since type1 tracks only in containers.
   *
   * @param name As for `openDevice`: `0000:3b:00.1`, a UUID, `fd:3`, `sim:…`.
   * @throws {DirtyRangeError} If a range is empty, not in whole pages, or overlaps another.
   * @throws {DmaError} If memory cannot be allocated or mapped.
   * @throws {UnsupportedError} If the device cannot be opened, its container is
   * not known, or the requested tracker does not exist.
   * @throws {BusyError} If another process has the device or its group open.
   * @throws {DeviceNameError} If the name is not a device name.
   * @throws {AnswerError} If the container's or the driver's answer cannot be true.
   * @throws {SysError} If the kernel refuses for another reason.
   */
  static open(name: string, options: DirtySessionOptions = {}): DirtySession {
    const { tracker = "auto", via = "auto" } = options;
    if (tracker === "type1" && via === "cdev") {
      throw new UnsupportedError([noType1Container(name)]);
    }
    const kernel = kernelOf(parseDeviceName(name), options);
    const traced = { ...options, kernel, trace: undefined };
    const byGroup = { ...traced, via: "group" } as const;
    if (tracker === "type1" && via === "auto") return DirtySession.#open(name, byGroup, tracker);
    if (tracker === "iommufd" && via === "auto" && !name.startsWith("fd:")) {
      return DirtySession.#open(name, { ...traced, via: "cdev" }, tracker);
    }
    try {
      return DirtySession.#open(name, traced, tracker);
    } catch (error) {
      const mayChoose = via === "auto" && !name.startsWith("fd:");
      if (!mayChoose || !(error instanceof NeedsContainer)) throw error;
      return DirtySession.#openForType1(name, byGroup, error);
    }
  }

  static #open(
    name: string,
    options: MappedDeviceOptions,
    wanted: TrackerName | "auto",
    why: string | null = null,
  ): DirtySession {
    return cleanly(() => {
      using opened = new DisposableStack();
      const mapped = opened.use(MappedDevice.open(name, options));
      const { tracker, reason } = chooseTracker(wanted, mapped.device, mapped.space, mapped.pgsize);
      opened.move();
      return new DirtySession(mapped, tracker, why ?? reason);
    });
  }

  /** By type1, as the device's log and its iommufd were refused. */
  static #openForType1(
    name: string,
    options: MappedDeviceOptions,
    needs: NeedsContainer,
  ): DirtySession {
    const { refusals } = needs;
    try {
      const why = whyOthersDoNot(refusals, cleanupErrors(needs));
      return DirtySession.#open(name, options, "type1", why);
    } catch (error) {
      const failure = error instanceof UnsupportedError ? allRefuse(error, refusals) : error;
      for (const each of ownCleanupErrors(needs)) addCleanup(failure, each);
      throw failure;
    }
  }

  /** The device. */
  get device(): VfioDevice {
    return this.#mapped.device;
  }

  /** What its DMA can reach: its container, or its IOAS. */
  get space(): AddressSpace {
    return this.#mapped.space;
  }

  /** The memory of {@linkcode DirtySession.mapped}; null if none was allocated. */
  get memory(): DmaMemory | null {
    return this.#mapped.memory;
  }

  /** The ranges that are parts of {@linkcode DirtySession.memory}, by ascending iova. */
  get mapped(): readonly SessionMapping[] {
    return this.#mapped.mapped;
  }

  /** All memory that this session mapped, by IOVA. */
  get contents(): DeviceMemory {
    return this.#mapped.contents;
  }

  /** The mappings that are read: made by the session, or added by the caller. */
  get mappings(): readonly IovaMapping[] {
    return this.#mapped.mappings;
  }

  /** The fds, to hand to another process. */
  get fds(): SessionFds {
    return this.#mapped.fds;
  }

  /**
   * Stops, unmaps and closes. Closing again does nothing.
   *
   * @throws {SysError} If a part of it failed; the rest was done all the same.
   */
  close(): void {
    // The tracker is closed first of all.
    cleanlyThen(() => this.tracker.close(), () => this.#mapped.close());
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}
