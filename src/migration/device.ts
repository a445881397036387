/**
 * An open device.
 *
 * @module
 */

import type { Kernel } from "../kernel/kernel.ts";
import type { DriverNote } from "../vfio/notes/driver_notes.ts";
import {
  ask,
  bindClient,
  InlineSessionClient,
  ServiceLifetime,
  type SessionClient,
  WorkerSessionClient,
} from "./thread/session_client.ts";
import { DirtyTracking } from "./dirty_tracking.ts";
import type { OnError, RecoveryMode } from "./protocol/engine.ts";
import type { DataFdSockets } from "./v2/data_fd_handover.ts";
import type {
  DeviceDescription,
  MemoryDescription,
  OpenOptions,
  TrackerDescription,
} from "./thread/session.ts";
import type { StateChange } from "../vfio/state/standstill.ts";
import type { PrecopyReport } from "../vfio/state/precopy_report.ts";
import { SharedCounters } from "./thread/shared_counters.ts";
import type { AnyWorker } from "../base/thread.ts";
import type { Recovery } from "../vfio/state/recovery.ts";
import type { NotedStateReport, StateName, TargetState } from "../vfio/state/states.ts";

export type {
  AnyWorker,
  DataFdSockets,
  DeviceDescription,
  MemoryDescription,
  OnError,
  OpenOptions,
  RecoveryMode,
  TrackerDescription,
};

/** Where an open device is served; by default in a Worker that vfiokit starts. */
export interface DeviceThreadOptions {
  /**
   * Serves it on this thread with this kernel: a simulated one, since a blocking call would block
   * the event loop.
   */
  readonly kernel?: Kernel | undefined;
  /**
   * Serves it in this Worker, a Web Worker or one of `node:worker_threads`, which calls
   * `serveDevice`; the Worker ends when the device is closed. A Web Worker in Deno keeps the
   * process alive until then; other Workers do not while the device is idle.
   */
  readonly worker?: AnyWorker | undefined;
}

/** The progress of a phase. */
export interface Progress {
  /** The last known state of the device. */
  readonly state: StateName;
  /** Pending bytes, as the driver last reported them; null if it has not. */
  readonly pendingBytes: number | null;
  /** Bytes moved since the phase began. */
  readonly bytes: number;
  /** Transactions moved since the phase began. */
  readonly transactions: number;
  /**
   * For how many milliseconds the device's thread has left a request without an answer: it answers
   * several times a second unless the driver blocks in the kernel. 0 if nothing was asked.
   */
  readonly unansweredMs: number;
}

/**
 * From now on, an abort ends the work of a device's thread, even if the driver takes no data: the
 * request under way fails, and the device is brought back. Internal.
 */
export let interruptOn: (device: Device, signal: AbortSignal | undefined) => Disposable;

let construct: (
  name: string,
  client: SessionClient,
  counters: SharedCounters,
  description: DeviceDescription,
) => Device;

/**
 * A VFIO device, opened by {@linkcode openDevice}. Its migration state lasts as long as it is open.
 *
 * Calls are served in order on the device's own thread and do not block the event loop.
 */
export class Device implements AsyncDisposable {
  /** The name that the device was opened by. */
  readonly name: string;
  /** The description of the device. */
  readonly description: DeviceDescription;
  /** The tracker of its dirty pages; null if it was opened without `tracker`. */
  readonly dirty: DirtyTracking | null;
  readonly #client: SessionClient;
  readonly #counters: SharedCounters;
  #closed: Promise<void> | null = null;

  private constructor(
    name: string,
    client: SessionClient,
    counters: SharedCounters,
    description: DeviceDescription,
  ) {
    bindClient(this, client);
    this.name = name;
    this.#client = client;
    this.#counters = counters;
    this.description = description;
    const { tracker } = description;
    this.dirty = tracker === null ? null : new DirtyTracking(this, tracker);
  }

  static {
    interruptOn = (device, signal) => {
      const interrupt = (): void => void (device.#counters.interrupted = true);
      if (signal?.aborted) interrupt();
      signal?.addEventListener("abort", interrupt);
      return {
        [Symbol.dispose](): void {
          signal?.removeEventListener("abort", interrupt);
          device.#goOn();
        },
      };
    };
    construct = (name, client, counters, description) =>
      new Device(name, client, counters, description);
  }

  /**
   * Reads the state. A state that cannot be read is `unknown`.
   *
   * @throws {UnsupportedError} If the device has no migration region.
   */
  state(): Promise<NotedStateReport> {
    return ask(this, "state");
  }

  /**
   * Requests a state from the driver, by one write of device_state. A device that ends in ERROR, or
   * does not answer any more, is reset, unless `onError` (here or in the options of `openDevice`)
   * is `leave`.
   *
   * @throws {MigrationError} If the driver refuses, with the state after that.
   */
  setState(target: TargetState, onError?: OnError): Promise<NotedStateReport> {
    return ask(this, "setState", target, onError);
  }

  /**
   * The latest changes of its state, oldest first, as its thread measured them: each arc by itself,
   * where a step to a state takes several.
   *
   * @example
   * ```ts
   * import { openDevice } from "vfiokit";
   * import assert from "node:assert/strict";
   *
   * await using device = await openDevice("sim:mlx5");
   * await device.setState("stop");
   * const arcs = (await device.stateChanges()).map(({ from, to }) => `${from} to ${to}`);
   * assert.deepEqual(arcs, ["running to running-p2p", "running-p2p to stop"]);
   * ```
   */
  async stateChanges(): Promise<readonly StateChange[]> {
    return (await ask(this, "times")).changes;
  }

  /**
   * How its last pre-copy went: its rounds, and why it ended. Null if there was none since it was
   * opened.
   *
   * @example
   * ```ts
   * import { openDevice, precopy } from "vfiokit";
   * import assert from "node:assert/strict";
   *
   * await using device = await openDevice("sim:mlx5?size=64KiB");
   * for await (const _ of precopy(device));
   * assert.equal((await device.precopyReport())?.ended, "threshold");
   * ```
   */
  async precopyReport(): Promise<PrecopyReport | null> {
    return (await ask(this, "times")).precopy;
  }

  /**
   * Resets the device (VFIO_DEVICE_RESET), and reads back RUNNING. The state is null for a device
   * that does not migrate.
   *
   * If the device's lock is held (EAGAIN), the reset is tried again for up to two seconds. If the
   * driver accepts the reset and ignores it, the device is closed and opened again, provided that
   * this process opened it, no memory is mapped, and it shares no group or iommufd.
   *
   * @param options `signal` ends the wait for a device that is not ready.
   * @throws {MigrationError} If the reset fails, or leaves another state: `reset-failed`,
   * `reset-ignored`.
   * @throws What the signal was aborted with, if it was before.
   */
  async reset(
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<NotedStateReport | null> {
    options.signal?.throwIfAborted();
    using _interrupted = interruptOn(this, options.signal);
    return await ask(this, "reset");
  }

  /**
   * Brings the device back to RUNNING: by an arc from a saving or stopped state, else by a reset. A
   * request under way ends as soon as the driver returns.
   *
   * @param mode Default `running`. `running-p2p` stops in RUNNING_P2P where the
   * device has that state and has left it, so that other devices can catch up
   * before it begins DMA to them; `reset` takes no arc.
   * @returns What was done since the last phase began, by this call, by a step
   * that failed, or by a stream that was cancelled before.
   */
  async recover(mode: RecoveryMode = "running"): Promise<Recovery> {
    this.#counters.interrupted = true;
    try {
      return await ask(this, "recover", mode);
    } finally {
      this.#goOn();
    }
  }

  /** Later requests are not cut short, unless the device is being closed. */
  #goOn(): void {
    if (this.#closed === null) this.#counters.interrupted = false;
  }

  /**
   * Lets another process go on after {@linkcode precopy}: v2's data fd is put into the place that
   * the device was opened with (`dataFdSockets`), where {@linkcode stopAndCopy} of a process with the
   * same place takes it. With v1 all of a save is in the device, and there is nothing to do. Before
   * pre-copy this only tells, by an error, where there is no such place.
   *
   * @throws {MigrationError} If there is no such place, or the fd cannot be put there.
   */
  handOver(): Promise<void> {
    return ask(this, "handOver");
  }

  /**
   * Reads from a region of the device through its fd.
   *
   * @throws {RangeError} If the range reaches outside the region.
   */
  readRegion(index: number, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    return ask(this, "readRegion", index, offset, length);
  }

  /**
   * Reads from the memory that `maps` mapped for the device, by IOVA.
   *
   * @throws {RangeError} If the range is not inside one mapping, or its memory is known by its
   * address only.
   *
   * @example
   * ```ts
   * import { openDevice } from "vfiokit";
   * import assert from "node:assert/strict";
   *
   * await using device = await openDevice("sim:mlx5", {
   *   maps: [{ iova: 0x100000n, size: 1n << 20n }],
   * });
   * await device.writeMemory(0x101000n, new Uint8Array([1, 2, 3]));
   * assert.deepEqual([...await device.readMemory(0x101001n, 2)], [2, 3]);
   * ```
   */
  readMemory(iova: bigint, length: number): Promise<Uint8Array<ArrayBuffer>> {
    return ask(this, "readMemory", iova, length);
  }

  /**
   * Writes to that memory, as the CPU does: trackers see DMA only, and not this.
   *
   * @throws {RangeError} As {@linkcode Device.readMemory}.
   */
  writeMemory(iova: bigint, bytes: Uint8Array): Promise<void> {
    return ask(this, "writeMemory", iova, bytes);
  }

  /** The progress of the phase under way, without a call to the driver. */
  progress(): Progress {
    const { state, pendingBytes, bytes, transactions } = this.#counters;
    return {
      state,
      pendingBytes: pendingBytes < 0 ? null : pendingBytes,
      bytes,
      transactions,
      unansweredMs: this.#client.unansweredMs,
    };
  }

  /**
   * The notes about its driver since the device was opened, up to the last answer; makes no call to
   * the driver. Reports and errors have the notes of their own work.
   *
   * @example
   * ```ts
   * import { openDevice } from "vfiokit";
   * import { stopAndCopy } from "vfiokit";
   * import assert from "node:assert/strict";
   *
   * await using device = await openDevice("sim:trapped?size=64KiB&fault=data-size-zero:2");
   * for await (const _ of stopAndCopy(device));
   * assert.deepEqual(device.notes.map(({ code, count }) => [code, count]), [["data-size-zero", 2]]);
   * ```
   */
  get notes(): readonly DriverNote[] {
    return this.#client.notes.list();
  }

  /**
   * Closes the fds that this process opened; borrowed fds stay open. Closing again does nothing.
   *
   * Whatever is going on is cut short as by an abort, as soon as the driver returns, and is
   * answered before the device is closed. It fails with a {@linkcode DeviceClosedError}, and so
   * does all that is asked later. Closing brings nothing back: between two requests of a save or
   * a restore the device is closed in the state that it is in, which the error tells. The kernel
   * resets most devices when their last fd is closed; a borrowed one stays in that state.
   *
   * @throws {SysError} If the kernel reports an error for one of the fds; all are closed.
   */
  close(): Promise<void> {
    this.#counters.interrupted = true;
    return this.#closed ??= this.#client.close();
  }

  /** Closes, at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Opens a device by name: a PCI address, an mdev UUID, a sysfs path, `fd:N` or `sim:…`. Opening a
 * PCI device may reset it.
 *
 * The same object saves, restores and runs the phases, and with `maps` and `tracker` it has memory
 * for the device's DMA and tracks its dirty pages.
 *
 * @param name The device's name.
 * @param options How to open it, its memory and tracker, and where to serve it.
 * @throws {DeviceNameError} If the name is not a device name.
 * @throws {UnsupportedError} If there is no such device, VFIO cannot open it, or the tracker does
 * not exist.
 * @throws {DirtyRangeError} If a range to map is wrong.
 * @throws {DmaError} If memory cannot be allocated or mapped.
 * @throws {BusyError} If its group is in use.
 *
 * @example
 * ```ts
 * import { openDevice } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * await using device = await openDevice("sim:trapped");
 * assert.equal((await device.state()).state, "running");
 * ```
 */
export async function openDevice(
  name: string,
  options: OpenOptions & DeviceThreadOptions = {},
): Promise<Device> {
  const { kernel, worker, ...rest } = options;
  const counters = new SharedCounters();
  const lifetime = new ServiceLifetime(name, counters);
  const client = kernel === undefined
    ? new WorkerSessionClient(lifetime, worker)
    : new InlineSessionClient(lifetime, kernel);
  try {
    const description = await client.request("open", name, rest, counters.memory);
    return construct(name, client, counters, description);
  } catch (error) {
    client.end();
    throw error;
  }
}
