/**
 * A plain v2 client of a simulated device, for these tests.
 */

import { type SimDevice, SimKernel } from "../../src/sim/mod.ts";
import { V2Calls } from "../migration/v2_cases/calls.ts";
import { DeviceClient } from "./_device_client.ts";

/** An open simulated v2 device. */
export class V2Client extends V2Calls {
  declare readonly kernel: SimKernel;
  readonly device: SimDevice;
  readonly container: number;
  readonly group: number;
  readonly #opened: DeviceClient;

  constructor(kernel: SimKernel) {
    const opened = new DeviceClient(kernel);
    super(kernel, opened.fd);
    this.device = opened.device;
    this.container = opened.container;
    this.group = opened.group;
    this.#opened = opened;
  }

  static of(...specs: string[]): V2Client {
    return new V2Client(new SimKernel(...specs));
  }

  static withClock(now: () => number, ...specs: string[]): V2Client {
    return new V2Client(SimKernel.withClock(now, ...specs));
  }

  close(): void {
    this.closeData();
    this.#opened.close();
  }

  override [Symbol.dispose](): void {
    this.close();
  }
}
