/**
 * The steps of a restore, which all devices take together.
 */

import { ask } from "../migration/thread/session_client.ts";
import type { CheckpointInput } from "./_checkpoint_input.ts";
import { advance, type Lockstep, type Member } from "./lockstep.ts";

/** One restore. */
export class RestoreSteps {
  readonly #lockstep: Lockstep;
  /** By member: whether it came to be in RESUMING, once that is known. */
  readonly #entered = new Map<Member, Promise<boolean>>();

  constructor(lockstep: Lockstep) {
    this.#lockstep = lockstep;
  }

  /** Takes all to RESUMING. */
  async begin(): Promise<void> {
    await this.#lockstep.enterP2p();
    await this.#lockstep.step((member) => {
      const entering = ask(member.device, "beginRestore");
      this.#entered.set(member, entering.then(() => true, () => false));
      return entering;
    });
  }

  /** Gives each device its own. */
  async load(input: CheckpointInput): Promise<void> {
    await this.#lockstep.step((member) => input.take(member));
    for (const { device, phases } of this.#lockstep.members) {
      const { transactions, bytes } = device.progress();
      phases.push({ name: "resuming", transactions, bytes, seconds: 0 });
    }
  }

  /**
   * Lets the devices judge what they were given, v2 in STOP, where nothing runs
   * yet. v1 has no such step: it judges where it begins to run, so that comes
   * once those that can stand in RUNNING_P2P, and before the others run.
   */
  async end(leave: "running" | "stop"): Promise<void> {
    const lockstep = this.#lockstep;
    if (lockstep.members.length === 1) {
      return await lockstep.step(({ device }) => ask(device, "endRestore", leave));
    }
    const v1 = lockstep.members.filter(({ device }) => device.description.protocol === "v1");
    const v2 = lockstep.members.filter((member) => !v1.includes(member));
    await lockstep.step(({ device }) => ask(device, "endRestore", "stop"), v2);
    if (leave === "running") {
      await lockstep.step(({ device }) => advance(device, "stop", "running-p2p"), lockstep.p2p);
    }
    await lockstep.step(({ device }) => ask(device, "endRestore", leave), v1);
    if (leave === "stop") return;
    await lockstep.step(
      ({ device }) => advance(device, device.description.p2p ? "running-p2p" : "stop", "running"),
      v2,
    );
  }

  /** A device that was given anything, or might have been, has no state to go back to. */
  async recoveryMode(member: Member): Promise<"running" | "reset"> {
    return await this.#entered.get(member) === true ? "reset" : "running";
  }
}
