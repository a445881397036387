/**
 * `vfiokit checkpoint`: checkpoints of running devices and their memory.
 *
 * @module
 */

import { openDevices, TransferError } from "../../../mod.ts";
import {
  CheckpointChain,
  demandMigration,
  type LinkReport,
  LiveError,
} from "../../../src/live/mod.ts";
import type { Context } from "../../context.ts";
import { beforeEnd, pause, spanOf } from "../../dirty/measured_span.ts";
import { DONE, FAILED } from "../../exit_codes.ts";
import { attach, type Attached, tellingOwner } from "../../lending/attached.ts";
import { refuseShared, toServe } from "../../lending/given_memory.ts";
import { lentMemory } from "../../lending/keep_open.ts";
import { lendable, refuseQuirk, trackedOptions } from "../../lending/open_devices.ts";
import { refuseUnlendable } from "../../lending/run_program.ts";
import { SimulatedDevices } from "../../lending/simulated_devices.ts";
import { bytes, count as counted, time } from "../../output/format.ts";
import type { CheckpointArgs } from "../../specs/checkpoint/checkpoint.ts";
import { UsageError } from "../../usage_error.ts";

/** The schema of its JSON Lines, of which each is about one checkpoint. */
const SCHEMA = "vfiokit/checkpoint/1";

/** Runs `checkpoint`. */
export async function run(args: CheckpointArgs, context: Context): Promise<number> {
  const { devices: names, every } = args;
  if (every === undefined && args.count !== undefined) {
    throw new UsageError("Cannot use --count without --every: one checkpoint is taken");
  }
  if (every === 0) throw new UsageError("Cannot take one every 0ms: name a longer time");
  if (args.command !== undefined) refuseUnlendable(names);
  refuseShared(names, args.map);
  using attached = await attach(names, args, "checkpoint", context);
  return await tellingOwner(attached.owner, () => takeOf(attached, args, context));
}

/** Takes checkpoints of devices whose owner, if another process is, is attached. */
async function takeOf(
  attached: Attached,
  args: CheckpointArgs,
  context: Context,
): Promise<number> {
  const { devices: names, command, output, every } = args;
  await using served = await SimulatedDevices.serve(toServe(names, args));
  await using devices = await openDevices(attached.names, {
    ...trackedOptions(attached, args, context),
    channels: served.channels,
  });
  context.drivers = devices;
  // Checkpoints are taken whether anybody reads of them or not.
  context.stands = true;
  refuseQuirk(args, devices);
  await demandMigration(devices, "checkpoint");
  await using chain = new CheckpointChain(devices, output, {
    keep: args.keep,
    fullEvery: args.fullEvery,
    ownerWrites: args.ownerWrites,
    owner: attached.owner ?? undefined,
    downtimeMs: args.downtime,
    maxRounds: args.maxRounds,
    readBack: !args.noReadBack,
  });
  const inheritance = { devices: devices.map(lendable), memory: lentMemory(devices) };
  const { ended, exitCode } = spanOf(inheritance, command, context);
  let failures = 0;
  const ending = await beforeEnd(exitCode, async () => {
    failures = await takeAll(chain, { every, count: args.count, ended }, context);
  });
  if (failures === 0 || ending !== DONE) return ending;
  context.endedBy("checkpoint-failed", `${counted(failures, "checkpoint")} failed`);
  return FAILED;
}

/** When to take checkpoints. */
interface Schedule {
  readonly every: number | undefined;
  readonly count: number | undefined;
  readonly ended: AbortSignal;
}

/** Takes checkpoints until they are done; returns how many failed. */
async function takeAll(
  chain: CheckpointChain,
  { every, count, ended }: Schedule,
  context: Context,
): Promise<number> {
  const most = count ?? (every === undefined ? 1 : Infinity);
  const told = new Set<string>();
  let [taken, failures] = [0, 0];
  for (let due = performance.now(); taken < most;) {
    await pause(due - performance.now(), ended);
    if (ended.aborted) break;
    // After a late one, the next is on time again.
    due = Math.max(due + (every ?? 0), performance.now());
    try {
      const report = await chain.take({ signal: context.signal });
      taken += 1;
      await context.linesInTime(context.json ? fields(report) : line(report));
      for (const warning of report.warnings) {
        if (!told.has(warning)) context.note(warning);
        told.add(warning);
      }
    } catch (error) {
      // Where not even the first has a place for its file, the others fail as well, and so they do
      // without an owner; a device that does not run is not left alone.
      const placed = taken > 0 || error instanceof TransferError;
      const again = every !== undefined && placed && runs(error) && !lacksOwner(error);
      if (!again || context.signal.aborted) throw error;
      failures += 1;
      const { message, code, errno } = await context.explain(error);
      context.say(`${message}; the next checkpoint is a full one`);
      if (context.json) {
        await context.linesInTime({
          schema: SCHEMA,
          number: null,
          error: { message, code, errno },
        });
      }
    }
  }
  return failures;
}

/** Whether the devices run, whatever a checkpoint failed of. */
function runs(error: unknown): boolean {
  return !(error instanceof TransferError) ||
    error.devices.every(({ state, recovery }) => state === "running" && recovery !== "failed");
}

/** Whether the owner of the devices failed, which is asked nothing more. */
function lacksOwner(error: unknown): boolean {
  const cause = error instanceof TransferError ? error.cause : error;
  return cause instanceof LiveError && cause.code.startsWith("owner-");
}

function line(report: LinkReport): string {
  const { kind, stopSeconds, stop, seconds, storedBytes, removed } = report;
  const { memory, device } = report.bytes;
  const longest = stop.toSorted((a, b) => b.seconds - a.seconds)[0]!;
  return `${report.file}: ${kind}, ${bytes(storedBytes)} (memory ${bytes(memory)}, device ` +
    `${bytes(device)}) in ${time(seconds)}, stopped for ${time(stopSeconds)} ` +
    `(${longest.step} ${time(longest.seconds)})` +
    (removed.length === 0 ? "" : `; removed ${counted(removed.length, "older one")}`);
}

function fields(report: LinkReport): Readonly<Record<string, unknown>> {
  const { bytes, devices, readBack, ...rest } = report;
  return {
    schema: SCHEMA,
    ...rest,
    memoryBytes: bytes.memory,
    zeroBytes: bytes.zero,
    sameBytes: bytes.same,
    deviceBytes: bytes.device,
    readBack: readBack.done,
    devices: devices.map(({ name, state }) => ({ name, state })),
  };
}
