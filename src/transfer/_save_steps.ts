/**
 * The steps of a save, which all devices take together.
 */

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
  const begun = performance.now();
  await lockstep.step(async (member) => {
    await ask(member.device, "beginSave", "pre-copy", limits);
    await copy(member, output, "pre-copy", begun);
  }, able);
  return report("pre-copy", able, begun);
}

/** Stops all devices, and then reads all. */
export async function stopAndCopy(
  lockstep: Lockstep,
  output: CheckpointOutput,
): Promise<PhaseReport> {
  await lockstep.enterP2p();
  const begun = performance.now();
  await lockstep.step(({ device }) => ask(device, "beginSave", "stop-and-copy", NO_LIMITS));
  await lockstep.step((member) => copy(member, output, "stop-and-copy", begun));
  return report("stop-and-copy", lockstep.members, begun);
}

/** Reads the phase that a device has entered to its end. */
async function copy(
  member: Member,
  output: CheckpointOutput,
  phase: Phase,
  begun: number,
): Promise<void> {
  member.moving = true;
  await output.fill(member, phase);
  member.moving = false;
  const { transactions, bytes } = member.device.progress();
  member.phases.push({ name: phase, transactions, bytes, seconds: secondsSince(begun) });
}

function report(name: Phase, members: readonly Member[], begun: number): PhaseReport {
  const moved = totals(members.map(({ phases }) => phases.at(-1)!));
  return { name, ...moved, seconds: secondsSince(begun) };
}

function secondsSince(begun: number): number {
  return (performance.now() - begun) / 1000;
}
