/** A VMM for tests: a monitor that stops and starts a machine and its device. */

import type { Device } from "../../mod.ts";
import { type Answer, FakeMonitor } from "./_fake_monitor.ts";

/** A VMM with a device: its monitor stops and starts both, as QEMU's does. */
export class FakeVmm implements AsyncDisposable {
  /** Its monitor. */
  readonly monitor: FakeMonitor;
  /** Whether the machine runs. */
  running = true;
  /** A command that the monitor refuses. */
  refused = "";

  /** Makes one that runs; one that does not follow has another device. */
  constructor(device: Device, follows = true) {
    this.monitor = new FakeMonitor({
      answer: async (command): Promise<Answer> => {
        if (command === "query-status") {
          return {
            returns: { running: this.running, status: this.running ? "running" : "paused" },
          };
        }
        if (command === this.refused) return { raw: '{"error": {"class": "X", "desc": "no"}}' };
        this.running = command === "cont";
        if (follows) await device.setState(this.running ? "running" : "stop");
        return { returns: {} };
      },
    });
  }

  /** Ends the monitor. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.monitor[Symbol.asyncDispose]();
  }
}
