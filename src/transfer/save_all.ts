/**
 * Several devices to one checkpoint: they stop together, or none does.
 *
 * @module
 */

import { cleanedUpAsync } from "../base/cleanup.ts";
import { type Hint, hintOf } from "../base/vfiokit_error.ts";
import { ask } from "../migration/thread/host.ts";
import {
  NO_LIMITS,
  precopyLimits,
  type PrecopyOptions,
} from "../migration/protocol/precopy_limits.ts";
import { phaseBatches } from "../migration/phases/phase_batches.ts";
import type { Device } from "../migration/device.ts";
import { MigrationError } from "../migration/migration_error.ts";
import type { Phase } from "../checkpoint/batches/transaction.ts";
import { VERSION } from "../base/version.ts";
import { DevicesWriter } from "./_devices_writer.ts";
import { keep, keptUnread } from "./_keep.ts";
import { ONLY_COPY, setStateWithRetry, whatCannotRun } from "./_run_again.ts";
import { sinkOf } from "./plain_streams.ts";
import { Lockstep, type Member } from "./lockstep.ts";
import type { DevicesError } from "./devices_error.ts";
import { devicesError, type FinalState } from "./_devices_failure.ts";
import { type JointSaveReport, type PhaseReport, totals } from "./report.ts";
import type { CheckpointSink, SaveOptions } from "./save.ts";

/** One save of a lockstep. */
class LockstepSave {
  readonly #lockstep: Lockstep;
  readonly #writer: DevicesWriter;
  readonly phases: PhaseReport[] = [];

  constructor(lockstep: Lockstep, writer: DevicesWriter) {
    this.#lockstep = lockstep;
    this.#writer = writer;
  }

  /** Pre-copy of those that can, each with rounds of its own. */
  async precopy(options: PrecopyOptions): Promise<void> {
    const able = this.#lockstep.members.filter(({ device }) => device.description.precopy);
    if (able.length === 0) return;
    const limits = precopyLimits(options);
    const begun = performance.now();
    await this.#lockstep.step(async (member) => {
      await ask(member.device, "beginSave", "pre-copy", limits);
      await this.#copy(member, "pre-copy", begun);
    }, able);
    this.#report("pre-copy", able, begun);
  }

  /** Stops all, and then reads all. */
  async stopAndCopy(): Promise<void> {
    await this.#lockstep.enterP2p();
    const begun = performance.now();
    await this.#lockstep.step(({ device }) => ask(device, "beginSave", "stop-and-copy", NO_LIMITS));
    await this.#lockstep.step((member) => this.#copy(member, "stop-and-copy", begun));
    this.#report("stop-and-copy", this.#lockstep.members, begun);
  }

  /** Reads the phase that a device has entered to its end. */
  async #copy(member: Member, phase: Phase, begun: number): Promise<void> {
    const { device, number, phases } = member;
    for await (const batch of phaseBatches(device)) {
      this.#lockstep.signal.throwIfAborted();
      await this.#lockstep.until(this.#writer.batch(number, phase, batch));
    }
    const { transactions, bytes } = device.progress();
    const seconds = (performance.now() - begun) / 1000;
    phases.push({ name: phase, transactions, bytes, seconds });
  }

  #report(name: Phase, members: readonly Member[], begun: number): void {
    const seconds = (performance.now() - begun) / 1000;
    this.phases.push({ name, ...totals(members.map(({ phases }) => phases.at(-1)!)), seconds });
  }
}

/**
 * Saves the states of several devices as one checkpoint, and lets them run
 * again: all of them, or none.
 *
 * Pre-copy goes on in all of them at the same time; those that cannot take part
 * later only. Then each device that has the P2P states begins no more DMA to
 * others, before the first one stops; and none is read before all have stopped.
 * They are read at the same time, each on its own thread, and no faster than
 * the sink takes it: memory stays below 5 MiB a device. On the way back all
 * stand in RUNNING_P2P before the first one runs.
 *
 * Whatever ends the save early, a failure of one of them, the signal, or a sink
 * that takes no more, all devices are brought back to RUNNING and the sink is
 * aborted. Once the checkpoint is in its place it stays there, even if a device
 * then does not run again.
 *
 * A regular file is synced, and then the devices run again; they do not wait
 * for the file to be read back and to get its name. What that finds leaves no
 * file, and the devices as they are.
 *
 * @param devices The devices, 1 to 64, v1 and v2 as it comes; they must be
 * running, or in pre-copy. Their order is that of the checkpoint.
 * @param target Where the bytes go, as for `save`.
 * @throws {DevicesError} With what failed, on which device, and the state of each.
 * @throws {TypeError} If there is no device, or one twice, or the target is none; nothing was touched.
 *
 * @example
 * ```ts
 * import { openDevices, saveAll } from "@vfiokit/vfiokit";
 * import assert from "node:assert/strict";
 *
 * let stored = 0;
 * const target = new WritableStream<Uint8Array<ArrayBuffer>>({
 *   write(chunk) {
 *     stored += chunk.length;
 *   },
 * });
 * await using devices = await openDevices(["sim:mlx5?size=1MiB", "sim:trapped?size=1MiB"]);
 * const report = await saveAll(devices, target, { precopy: {} });
 * assert.deepEqual(report.devices.map(({ state }) => state), ["running", "running"]);
 * assert.ok(stored > report.bytes);
 * ```
 */
export async function saveAll(
  devices: readonly Device[],
  target: CheckpointSink | WritableStream<Uint8Array<ArrayBuffer>>,
  options: SaveOptions = {},
): Promise<JointSaveReport> {
  const sink = sinkOf(target);
  const { precopy: limits, leave = "running", readBack: wanted = true, signal, ...encoding } =
    options;
  const readBack = wanted ? sink.readBack : undefined;
  using stack = new DisposableStack();
  let lockstep: Lockstep | null = null;
  let writer: DevicesWriter | null = null;
  let phases: readonly PhaseReport[];
  let seconds = 0;
  try {
    lockstep = stack.use(new Lockstep("save", devices, signal));
    // Where none of them has pre-copy, they refuse it.
    const some = devices.some(({ description }) => description.precopy);
    await lockstep.step(({ device }) => {
      const first = limits !== undefined && (device.description.precopy || !some);
      return ask(device, "checkSave", first ? "pre-copy" : "stop-and-copy");
    });
    const begun = performance.now();
    writer = new DevicesWriter(sink, {
      devices: devices.map(({ description }) => description.identity!),
      created: new Date().toISOString(),
      tool: `vfiokit ${VERSION}`,
      iovaPageSize: null,
    }, encoding);
    await lockstep.until(writer.begin());
    lockstep.touch();
    const saving = new LockstepSave(lockstep, writer);
    if (limits !== undefined) await saving.precopy(limits);
    await saving.stopAndCopy();
    phases = saving.phases;
    await lockstep.until(writer.end());
    seconds = (performance.now() - begun) / 1000;
    if (readBack === undefined) await sink.commit();
    else await readBack.sync();
  } catch (error) {
    const failure = await lockstep?.failure(error) ?? error;
    writer?.abort(error);
    throw await cleanedUpAsync(failure, () => sink.abort(error));
  }
  // The devices first: they do not wait for the file to be read, nor for what is found there.
  if (leave === "running") await runAll(lockstep);
  const moved = lockstep.members.map((member) => totals(member.phases));
  const kept = readBack === undefined
    ? keptUnread(sink)
    : await keep(sink, readBack, moved, signal);
  const refusal = lockstep.members.find(({ error }) => error !== null)?.error;
  if (refusal) {
    const hint = kept.error === null ? undefined : ONLY_COPY;
    throw await failureAfterSave(lockstep, whatCannotRun("all devices", kept.error), refusal, hint);
  }
  if (kept.error !== null) {
    const hint = hintOf(kept.error);
    throw await failureAfterSave(lockstep, `Cannot ${lockstep.what}`, kept.error, hint);
  }
  const states = await lockstep.states();
  return {
    ...totals(phases),
    seconds,
    phases,
    devices: lockstep.members.map(({ device, phases, number, notes }) => ({
      name: device.name,
      state: states[number]!.state ?? "unknown",
      p2p: device.description.p2p,
      ...totals(phases),
      seconds: phases.reduce((sum, phase) => sum + phase.seconds, 0),
      phases,
      notes: notes.list(),
    })),
    readBack: kept.readBack,
  };
}

/** All is written: from here on no device is brought back for another's sake. */
async function runAll(lockstep: Lockstep): Promise<void> {
  await lockstep.lastStep(({ device }) => setStateWithRetry(device, "running-p2p"), lockstep.p2p);
  const able = lockstep.members.filter(({ error }) => error === null);
  await lockstep.lastStep(({ device }) => setStateWithRetry(device, "running"), able);
}

/**
 * The error for what could not be done any more, with the devices left as they are. Where it has a
 * hint of its own, none is given about devices that do not run: they may be meant to.
 */
async function failureAfterSave(
  lockstep: Lockstep,
  what: string,
  cause: Error,
  hint?: Hint | null,
): Promise<DevicesError> {
  const states = await lockstep.states();
  const left = lockstep.members.map(({ error }, index): FinalState => ({
    state: states[index]!.state,
    recovery: error instanceof MigrationError ? error.recovery : "none",
  }));
  return devicesError(what, lockstep.members, left, cause, false, hint);
}
