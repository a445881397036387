/**
 * The device that is served, opened through the Kernel seam: on the simulated kernel, or on one that
 * replays a trace.
 *
 * @module
 */

import { cleanedUp, cleanlyThen } from "../../base/cleanup.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { SimKernel } from "../../sim/mod.ts";
import { endTrace, ReplayError, type SharedTrace } from "../../trace/mod.ts";
import type { VfioDevice } from "../../vfio/device/device.ts";
import { type DeviceName, parseDeviceName } from "../../vfio/open/device_name.ts";
import { kernelFor, kernelOf } from "../../vfio/open/kernel_for.ts";
import { openVfioDevice } from "../../vfio/open/open.ts";
import { MigrationData } from "./migration_data.ts";

/** A device while clients may call it. Its state is gone once it is closed. */
export class OpenDevice implements Disposable {
  /** The kernel it lives in. */
  readonly kernel: Kernel;
  /** That kernel, if memory and eventfds of other processes can be given to it; else null. */
  readonly sim: SimKernel | null;
  /** The device. */
  readonly vfio: VfioDevice;
  /** The data of its migration. */
  readonly data: MigrationData;
  /** The client that started its DMA log; null while it is off. */
  logOwner: object | null = null;

  /**
   * Opens it.
   *
   * @param trace Where to report each call to the kernel.
   */
  constructor(kernel: Kernel, name: DeviceName, trace?: SharedTrace) {
    this.kernel = kernelOf(name, { kernel, trace });
    this.sim = kernel instanceof SimKernel ? kernel : null;
    try {
      this.vfio = openVfioDevice(this.kernel, name);
    } catch (error) {
      throw cleanedUp(error, () => endTrace(this.kernel));
    }
    // A trace has the calls as clients make them, and a replay takes no others.
    this.data = new MigrationData(this.kernel, this.sim !== null && trace === undefined);
  }

  /** Calls an ioctl of it. */
  ioctl(request: number, argument?: Uint8Array<ArrayBuffer>): void {
    this.kernel.ioctl(this.vfio.fd.number, request, argument);
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    cleanlyThen(
      () => this.data.close(),
      () => cleanlyThen(() => this.vfio.close(), () => endTrace(this.kernel)),
    );
  }
}

/**
 * The device by its name, opened anew for each client, or held open for all of them.
 *
 * A simulated device is the same one each time, with the state that its driver gives it when it is
 * opened; a trace is replayed from its beginning.
 */
export class DeviceSource implements Disposable {
  readonly #name: DeviceName;
  readonly #kernel: SimKernel | null;
  readonly #hold: boolean;
  readonly #trace: SharedTrace | undefined;
  #users = 0;
  #open: OpenDevice | null;

  /**
   * Opens it, so that a name that is wrong fails at once.
   *
   * @param hold Whether it stays open while no client uses it, and with it its state.
   * @param trace Where to report each call to the kernel.
   */
  constructor(name: string, hold: boolean, trace?: SharedTrace) {
    this.#name = parseDeviceName(name);
    const kernel = kernelFor(this.#name);
    this.#kernel = kernel instanceof SimKernel ? kernel : null;
    this.#hold = hold;
    this.#trace = trace;
    this.#open = new OpenDevice(kernel, this.#name, trace);
  }

  /** The device, for one more client. */
  take(): OpenDevice {
    this.#open ??= new OpenDevice(
      this.#kernel ?? kernelFor(this.#name),
      this.#name,
      this.#trace,
    );
    this.#users += 1;
    return this.#open;
  }

  /** A client is gone. */
  release(): void {
    this.#users -= 1;
    if (this.#users === 0 && !this.#hold) this.#close();
  }

  #close(): void {
    const open = this.#open;
    if (open === null) return;
    this.#open = null;
    open[Symbol.dispose]();
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    try {
      this.#close();
    } catch (error) {
      // A trace that no client used has calls left.
      if (!(error instanceof ReplayError)) throw error;
    }
  }
}
