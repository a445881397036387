/**
 * An open device, as the phases take it.
 *
 * @module
 */

import type { Kernel } from "../kernel/kernel.ts";
import type { DriverNote } from "../vfio/notes/driver_notes.ts";
import {
  ask,
  bindHost,
  type Host,
  InlineHost,
  ServiceLifetime,
  WorkerHost,
} from "./thread/host.ts";
import type { OnError, RecoveryMode } from "./protocol/engine.ts";
import type { DataPlaceFds } from "./v2/data_fd_handover.ts";
import type { DeviceDescription, OpenOptions } from "./thread/open_session.ts";
import { SharedCounters } from "./thread/shared_counters.ts";
import type { AnyWorker } from "./thread/thread.ts";
import type { Recovery } from "../vfio/state/recovery.ts";
import type { NotedStateReport, StateName, TargetState } from "../vfio/state/states.ts";

export type { AnyWorker, DataPlaceFds, DeviceDescription, OnError, OpenOptions, RecoveryMode };

/** Where an open device is served; by default in a Worker of this toolkit's. */
export interface HostOptions {
  /** Serves it on this thread, over this kernel: a simulated one, since what blocks then blocks all. */
  readonly kernel?: Kernel | undefined;
  /**
   * Serves it in this Worker, a Web Worker or one of `node:worker_threads`, which calls
   * `serveDevice`; it ends when the device is closed. A Web Worker of Deno's keeps the process
   * alive until then, as it does by itself; no other does while the device is idle.
   */
  readonly worker?: AnyWorker | undefined;
}

/** Where a phase is. */
export interface Progress {
  /** The device's state, as last known. */
  readonly state: StateName;
  /** Bytes that the driver last said are pending; null where it has not said. */
  readonly pendingBytes: number | null;
  /** Bytes moved since the phase began. */
  readonly bytes: number;
  /** Transactions moved since the phase began. */
  readonly transactions: number;
}

/**
 * From now on an abort ends what a device's thread is about, even if the driver takes no data: a
 * request under way fails, and the device is brought back. Internal.
 */
export let interruptOn: (device: Device, signal: AbortSignal | undefined) => Disposable;

let construct: (
  name: string,
  host: Host,
  counters: SharedCounters,
  description: DeviceDescription,
) => Device;

/**
 * A VFIO device, opened by {@linkcode openDevice}. Its migration state lives
 * as long as it is open.
 *
 * Calls are served one after the other, on a thread of their own: none blocks
 * the event loop.
 */
export class Device implements AsyncDisposable {
  /** The name it was opened by. */
  readonly name: string;
  /** What is known of it. */
  readonly description: DeviceDescription;
  readonly #host: Host;
  readonly #counters: SharedCounters;
  #closed: Promise<void> | null = null;

  private constructor(
    name: string,
    host: Host,
    counters: SharedCounters,
    description: DeviceDescription,
  ) {
    bindHost(this, host);
    this.name = name;
    this.#host = host;
    this.#counters = counters;
    this.description = description;
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
    construct = (name, host, counters, description) =>
      new Device(name, host, counters, description);
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
   * Asks the driver for a state, by one write of device_state. A device that
   * this leaves in ERROR, or that does not answer any more, is reset, unless
   * `onError`, here or when it was opened, is `leave`.
   *
   * @throws {MigrationError} If the driver refuses; it says the state after.
   */
  setState(target: TargetState, onError?: OnError): Promise<NotedStateReport> {
    return ask(this, "setState", target, onError);
  }

  /**
   * VFIO_DEVICE_RESET, and RUNNING read back. Null for a device that does not
   * migrate: it is reset, and has no state to tell.
   *
   * A device whose lock somebody holds (EAGAIN) is waited for, two seconds at most. Where the
   * driver accepts the reset and does not do it, the device is closed and opened again, if that
   * can harm nobody: it was opened here, has no memory mapped, and shares no group and no iommufd.
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
   * Brings the device back to RUNNING: from a saving or stopped state by an
   * arc, else by a reset. Whatever is going on ends as soon as the driver
   * returns.
   *
   * @param way Default `running`. `running-p2p` stops in RUNNING_P2P where the
   * device has that state and has left it, so that other devices can catch up
   * before it begins DMA to them; `reset` takes no arc.
   * @returns What was done since the last phase began, by this call, by a step
   * that failed, or by a stream that was cancelled before.
   */
  async recover(way: RecoveryMode = "running"): Promise<Recovery> {
    this.#counters.interrupted = true;
    try {
      return await ask(this, "recover", way);
    } finally {
      this.#goOn();
    }
  }

  /** What is asked from now on is not cut short, unless the device is being closed. */
  #goOn(): void {
    if (this.#closed === null) this.#counters.interrupted = false;
  }

  /**
   * Lets another process go on after {@linkcode precopy}: v2's data fd is put into the place that
   * the device was opened with (`dataPlace`), where {@linkcode stopAndCopy} of a process with the
   * same place takes it. With v1 all of a save is in the device, and there is nothing to do. Before
   * pre-copy this only tells, by an error, where there is no such place.
   *
   * @throws {MigrationError} If there is no such place, or the fd cannot be put there.
   */
  handOver(): Promise<void> {
    return ask(this, "handOver");
  }

  /**
   * Reads from one of the device's regions, through the fd.
   *
   * @throws {RangeError} If that reaches outside the region.
   */
  readRegion(index: number, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    return ask(this, "readRegion", index, offset, length);
  }

  /** Where the phase under way is: a snapshot that asks nobody. */
  progress(): Progress {
    const { state, pendingBytes, bytes, transactions } = this.#counters;
    return { state, pendingBytes: pendingBytes < 0 ? null : pendingBytes, bytes, transactions };
  }

  /**
   * What its driver did against the rules, though the work went on, since it was opened; as far
   * as was answered: this asks nobody. Reports and errors have the part that is theirs.
   *
   * @example
   * ```ts
   * import { openDevice } from "./device.ts";
   * import { stopAndCopy } from "./phases/stop_and_copy.ts";
   * import assert from "node:assert/strict";
   *
   * await using device = await openDevice("sim:trapped?size=64KiB&fault=data-size-zero:2");
   * for await (const _ of stopAndCopy(device));
   * assert.deepEqual(device.notes.map(({ code, count }) => [code, count]), [["data-size-zero", 2]]);
   * ```
   */
  get notes(): readonly DriverNote[] {
    return this.#host.notes.list();
  }

  /**
   * Closes what was opened here; what is borrowed stays open. Closing again does nothing.
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
    return this.#closed ??= this.#host.close();
  }

  /** Closes, at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Opens a device by name: a PCI address, an mdev UUID, a sysfs path, `fd:N`,
 * or `sim:…`. Opening a PCI device may reset it.
 *
 * @param name What to open.
 * @param options How to open it, and where it is served.
 * @throws {DeviceNameError} If the name is none of these.
 * @throws {UnsupportedError} If there is no such device, or VFIO cannot open it.
 * @throws {BusyError} If its group is in use.
 *
 * @example
 * ```ts
 * import { openDevice } from "@vfiokit/vfiokit";
 * import assert from "node:assert/strict";
 *
 * await using device = await openDevice("sim:trapped");
 * assert.equal((await device.state()).state, "running");
 * ```
 */
export async function openDevice(
  name: string,
  options: OpenOptions & HostOptions = {},
): Promise<Device> {
  const { kernel, worker, ...rest } = options;
  const counters = new SharedCounters();
  const lifetime = new ServiceLifetime(name, counters);
  const host = kernel === undefined
    ? new WorkerHost(lifetime, worker)
    : new InlineHost(lifetime, kernel);
  try {
    const description = await host.request("open", name, rest, counters.memory);
    return construct(name, host, counters, description);
  } catch (error) {
    host.end();
    throw error;
  }
}
