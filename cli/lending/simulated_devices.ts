/**
 * Simulated devices that are lent to a program: each is served on a separate thread, and the
 * program inherits a channel to its server.
 *
 * @module
 */

import { libcKernel } from "../../src/kernel/mod.ts";

/** The servers of simulated devices. */
export class SimulatedDevices implements AsyncDisposable {
  /** The channel of each device, in the order of their names; undefined for one that is real. */
  readonly channels: readonly (number | undefined)[];
  readonly #servers: AsyncDisposableStack;

  private constructor(channels: readonly (number | undefined)[], servers: AsyncDisposableStack) {
    this.channels = channels;
    this.#servers = servers;
  }

  /**
   * Serves the simulated ones of these devices.
   *
   * @throws {SimSpecError} If a name is invalid.
   * @throws {Error} What opening a device throws.
   */
  static async serve(names: readonly string[]): Promise<SimulatedDevices> {
    await using servers = new AsyncDisposableStack();
    const channels: (number | undefined)[] = [];
    for (const name of names) {
      if (!name.startsWith("sim:")) {
        channels.push(undefined);
        continue;
      }
      const { Server } = await import("../../src/server/mod.ts");
      const { server, channel } = await Server.lend(name);
      servers.use(server);
      servers.defer(() => libcKernel().close(channel));
      channels.push(channel);
    }
    return new SimulatedDevices(channels, servers.move());
  }

  /** Ends the servers, and the devices with them. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#servers.disposeAsync();
  }
}
