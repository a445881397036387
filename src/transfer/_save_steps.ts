/**
 * The steps of a save, which all devices take together.
 */

import type { SavedPhase } from "../migration/thread/frame_turns.ts";
import { ask } from "../migration/thread/session_client.ts";
import { NO_LIMITS, precopyLimits } from "../migration/protocol/precopy_limits.ts";
import type { PrecopyOptions } from "../migration/protocol/precopy_limits.ts";
import type { Phase } from "../checkpoint/batches/transaction.ts";
import type { CheckpointOutput } from "./_checkpoint_output.ts";
import type { Lockstep, Member } from "./lockstep.ts";
import { type PhaseReport, totals } from "./report.ts";

/** Refuses what cannot begin now; no device is touched. */
export async function checkSave(lockstep: Lockstep, precopy: boolean): Promise<void> {
  await lockstep.look();
  // Where none of them has pre-copy, they refuse it.
  const some = lockstep.members.some(({ device }) => device.description.precopy);
  await lockstep.step(({ device }) => {
    const first = precopy && (device.description.precopy || !some);
    return ask(device, "checkSave", first ? "pre-copy" : "stop-and-copy");
  });
}

/**
 * Reads devices while they run: those that can, each with its own rounds.
 *
 * @returns How it went; null if none of them can.
 */
export async function precopy(
  lockstep: Lockstep,
  output: CheckpointOutput,
  options: PrecopyOptions,
): Promise<PhaseReport | null> {
  const able = lockstep.members.filter(({ device }) => device.description.precopy);
  if (able.length === 0) return null;
  const limits = precopyLimits(options);
  const times = await allOf(lockstep, able, async (member) => {
    await ask(member.device, "beginSave", "pre-copy", limits);
    return await copy(member, output, "pre-copy");
  });
  return report("pre-copy", able, times);
}

/** Stops all devices, and then reads all. */
export async function stopAndCopy(
  lockstep: Lockstep,
  output: CheckpointOutput,
): Promise<PhaseReport> {
  await lockstep.enterP2p();
  await lockstep.step(({ device }) => ask(device, "beginSave", "stop-and-copy", NO_LIMITS));
  const copied = (member: Member): Promise<SavedPhase> => copy(member, output, "stop-and-copy");
  const times = await allOf(lockstep, lockstep.members, copied);
  return report("stop-and-copy", lockstep.members, times);
}

/** A step of these devices, and what each came to. */
async function allOf<Value>(
  lockstep: Lockstep,
  members: readonly Member[],
  take: (member: Member) => Promise<Value>,
): Promise<readonly Value[]> {
  const values: Value[] = [];
  await lockstep.step(async (member) => void values.push(await take(member)), members);
  return values;
}

/** Reads the phase that a device has entered to its end. */
async function copy(member: Member, output: CheckpointOutput, phase: Phase): Promise<SavedPhase> {
  member.moving = true;
  const saved = await output.fill(member, phase);
  member.moving = false;
  const { transactions, bytes } = member.device.progress();
  member.phases.push({ name: phase, transactions, bytes, seconds: saved.seconds });
  return saved;
}

/** A phase of several devices, from the first that began it to the last that ended it. */
function report(
  name: Phase,
  members: readonly Member[],
  times: readonly SavedPhase[],
): PhaseReport {
  const moved = totals(members.map(({ phases }) => phases.at(-1)!));
  const begun = Math.min(...times.map((each) => each.begun));
  const ended = Math.max(...times.map((each) => each.ended));
  return { name, ...moved, seconds: (ended - begun) / 1000 };
}
