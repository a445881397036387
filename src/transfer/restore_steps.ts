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
    for (const member of this.#lockstep.members) member.moving = true;
    await this.#lockstep.step((member) => input.take(member));
    for (const member of this.#lockstep.members) {
      const { transactions, bytes } = member.device.progress();
      member.moving = false;
      member.phases.push({ name: "resuming", transactions, bytes, seconds: 0 });
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
    await this.judge();
    if (leave === "running") return await this.run();
    await lockstep.step(({ device }) => ask(device, "endRestore", leave), this.#of("v1"));
  }

  /** Lets the v2 devices judge what they were given; no device runs yet. */
  async judge(): Promise<void> {
    await this.#lockstep.step(({ device }) => ask(device, "endRestore", "stop"), this.#of("v2"));
  }

  /** Lets the devices run that have judged what they were given; v1 does both in one step. */
  async run(): Promise<void> {
    const lockstep = this.#lockstep;
    await lockstep.step(({ device }) => advance(device, "stop", "running-p2p"), lockstep.p2p);
    await lockstep.step(({ device }) => ask(device, "endRestore", "running"), this.#of("v1"));
    const waiting = (member: Member): boolean => lockstep.p2p.includes(member);
    await lockstep.step(
      (member) => advance(member.device, waiting(member) ? "running-p2p" : "stop", "running"),
      this.#of("v2"),
    );
  }

  #of(protocol: "v1" | "v2"): readonly Member[] {
    return this.#lockstep.members.filter(({ device }) => device.description.protocol === protocol);
  }

  /** A device that was given anything, or might have been, has no state to go back to. */
  async recoveryMode(member: Member): Promise<"running" | "reset"> {
    return await this.#entered.get(member) === true ? "reset" : "running";
  }
}
