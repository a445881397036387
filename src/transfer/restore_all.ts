/**
 * One checkpoint to several devices: all of them have their state, or none.
 *
 * @module
 */

import { ask } from "../migration/thread/host.ts";
import { BatchSender } from "../migration/phases/batch_sender.ts";
import type { Device } from "../migration/device.ts";
import { demandIdentity } from "./identity/check.ts";
import { DevicesLoader } from "./_devices_loader.ts";
import { sourceOf } from "./plain_streams.ts";
import { advance, Lockstep, type Member } from "./lockstep.ts";
import { type JointReport, totals } from "./report.ts";
import type { RestoreOptions, RestoreSource } from "./restore.ts";
import { verifyCheckpoint } from "../checkpoint/verify.ts";

/** One restore of a lockstep. */
class LockstepRestore {
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

  /** Gives each device its own, in the order of the checkpoint. */
  async load(loader: DevicesLoader): Promise<void> {
    const lockstep = this.#lockstep;
    const pushers = lockstep.members.map((member) =>
      new BatchSender((batch) => lockstep.attempt(member, ask(member.device, "push", batch)))
    );
    await lockstep.until(loader.load(async ({ device, bytes, sizes, more }) => {
      lockstep.signal.throwIfAborted();
      await pushers[device]!.push({ bytes, sizes, more });
    }));
    await lockstep.until(Promise.all(pushers.map((pusher) => pusher.flush())));
    for (const { device, phases } of lockstep.members) {
      const { transactions, bytes } = device.progress();
      phases.push({ name: "resuming", transactions, bytes, seconds: 0 });
    }
  }

  /**
   * Lets the devices judge what they were given, v2 in STOP, where nothing runs
   * yet. v1 has no such step: it judges where it begins to run, so that comes
   * once those that can stand in RUNNING_P2P, and before the others run.
   */
  async end(leave: "running" | "stopped"): Promise<void> {
    const lockstep = this.#lockstep;
    const v1 = lockstep.members.filter(({ device }) => device.description.protocol === "v1");
    const v2 = lockstep.members.filter((member) => !v1.includes(member));
    await lockstep.step(({ device }) => ask(device, "endRestore", "stop"), v2);
    if (leave === "stopped") {
      return await lockstep.step(({ device }) => ask(device, "endRestore", "stop"), v1);
    }
    await lockstep.step(({ device }) => advance(device, "stop", "running-p2p"), lockstep.p2p);
    await lockstep.step(({ device }) => ask(device, "endRestore", "running"), v1);
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

/**
 * Restores the states of several devices from one checkpoint, and lets them
 * run: all of them, or none.
 *
 * The devices are those that were saved, one by one in the order of the
 * checkpoint; all are compared before any is touched. They are given their data
 * at the same time, each on its own thread, as it comes in the checkpoint: one
 * that takes it slowly holds the others back. Memory stays below 5 MiB a device
 * for what this toolkit wrote. All have then to accept what they were given
 * before the first one runs, and those with the P2P states stand in RUNNING_P2P
 * before that.
 *
 * A source that can be read twice is verified whole before a device is touched.
 * Whatever ends the restore early resets every device that was given anything.
 *
 * @param devices The devices, in the order of the checkpoint.
 * @param origin Where the bytes come from, as for `restore`.
 * @throws {DevicesError} With what failed, on which device, and the state of
 * each; its cause is a `CheckpointError` for a bad checkpoint, an
 * `IdentityError` for one of other devices.
 * @throws {TypeError} If there is no device, or one twice; nothing was touched.
 *
 * @example
 * ```ts
 * import { createCheckpointFile, openCheckpointFile, openDevices, restoreAll, saveAll } from "@vfiokit/vfiokit";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const folder = fs.mkdtempSync("/tmp/vfiokit-");
 * await using from = await openDevices(["sim:mlx5?size=1MiB&seed=1", "sim:qat?size=1MiB&seed=2"]);
 * await using to = await openDevices(["sim:mlx5?size=1MiB&seed=3", "sim:qat?size=1MiB&seed=4"]);
 * await using file = await createCheckpointFile(`${folder}/a.vfk`);
 * await saveAll(from, file);
 * await using source = await openCheckpointFile(`${folder}/a.vfk`);
 * const report = await restoreAll(to, source);
 * assert.deepEqual(report.devices.map(({ state }) => state), ["running", "running"]);
 * fs.rmSync(folder, { recursive: true });
 * ```
 */
export async function restoreAll(
  devices: readonly Device[],
  origin: RestoreSource | ReadableStream<Uint8Array>,
  options: RestoreOptions = {},
): Promise<JointReport> {
  const { source, recycle } = sourceOf(origin);
  const { leave = "running", force = false, signal } = options;
  using lockstep = new Lockstep("restore", devices, signal);
  const restoring = new LockstepRestore(lockstep);
  let loader: DevicesLoader | null = null;
  let begun = 0;
  try {
    await lockstep.step(({ device }) => ask(device, "checkRestore"));
    if (source.seekable) await lockstep.until(verifyCheckpoint(source.stream(), { recycle }));
    loader = new DevicesLoader(source, recycle);
    demandIdentity(await lockstep.until(loader.header()), devices, force);
    begun = performance.now();
    lockstep.touch();
    await restoring.begin();
    await restoring.load(loader);
    await restoring.end(leave);
  } catch (error) {
    loader?.cancel(error);
    throw await lockstep.failure(error, (member) => restoring.recoveryMode(member));
  }
  const seconds = (performance.now() - begun) / 1000;
  const states = await lockstep.states();
  const reports = lockstep.members.map(({ device, phases, number, notes }) => ({
    name: device.name,
    state: states[number]!.state ?? "unknown",
    p2p: device.description.p2p,
    ...totals(phases),
    seconds,
    phases: phases.map((phase) => ({ ...phase, seconds })),
    notes: notes.list(),
  }));
  const moved = totals(reports);
  return { ...moved, seconds, phases: [{ name: "resuming", ...moved, seconds }], devices: reports };
}
