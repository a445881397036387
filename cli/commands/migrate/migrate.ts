/**
 * `vfiokit migrate`: moves a device and its memory to `receive`.
 *
 * @module
 */

import { openDevices } from "../../../mod.ts";
import {
  migrate,
  type MigrateOptions,
  type MigrateProgress,
  type MigrateReport,
} from "../../../src/live/mod.ts";
import type { Context } from "../../context.ts";
import { DONE } from "../../exit_codes.ts";
import { refuseShared, toServe } from "../../lending/given_memory.ts";
import { memoryOptions, openOptions, refuseQuirk } from "../../lending/open_devices.ts";
import { SimulatedDevices } from "../../lending/simulated_devices.ts";
import { connect } from "../../migrate/connect.ts";
import { withEvents } from "../../migrate/event_log.ts";
import { journalFolder } from "../../migrate/journal_folder.ts";
import { inDoubt, resolveMigration } from "../../migrate/resolve.ts";
import { bytes, count, rate, time } from "../../output/format.ts";
import type { MigrateArgs } from "../../specs/migrate/migrate.ts";
import { UsageError } from "../../usage_error.ts";

/** Runs `migrate`. */
export async function run(args: MigrateArgs, context: Context): Promise<number> {
  const { devices: names, resolve, to } = args;
  if (resolve !== undefined) {
    if (names.length > 0 || to !== undefined) {
      throw new UsageError("Cannot use --resolve with a device or --to: it only decides");
    }
    return resolveMigration(args, resolve, context);
  }
  if (names.length === 0) throw new UsageError("Expected a DEVICE.");
  if (to === undefined) throw new UsageError("Expected --to ADDRESS: where receive listens.");
  const journal = journalFolder(args.journal);
  const events = { path: args.events, side: "source", context } as const;
  return await withEvents(events, (tell) => move({ ...args, to, journal }, context, tell));
}

async function move(
  args: MigrateArgs & { readonly to: string; readonly journal: string },
  context: Context,
  tell: (progress: MigrateProgress) => void,
): Promise<number> {
  const { devices: names, to } = args;
  refuseShared(names, args.map);
  await using served = await SimulatedDevices.serve(toServe(names, args));
  await using devices = await openDevices(names, {
    ...openOptions(args, names, context),
    ...memoryOptions(args),
    channels: served.channels,
  });
  context.drivers = devices;
  refuseQuirk(args, devices);
  const connection = await connect(to, args, context.signal);
  const told = new Told(context);
  const report = await migrate(devices, connection, {
    ...liveOptions(args, context),
    onProgress: (progress) => {
      told.tell(progress);
      tell(progress);
    },
  });
  context.stands = true;
  context.set({ ...report, devices: report.devices.map(({ name, state }) => ({ name, state })) });
  context.summarize(...summary(report, to));
  return DONE;
}

function liveOptions(
  args: MigrateArgs & { readonly journal: string },
  { signal }: Context,
): MigrateOptions {
  return {
    journal: args.journal,
    downtimeMs: args.downtime,
    maxRounds: args.maxRounds,
    maxTimeMs: args.maxTime ?? Infinity,
    onNoConverge: args.onNoConverge,
    ownerWrites: args.ownerWrites,
    verifyMemory: args.verifyMemory,
    timeoutMs: args.timeout,
    signal,
  };
}

/** Tells what is new. */
class Told {
  readonly #context: Context;
  readonly #warnings = new Set<string>();
  #rounds = 0;
  #phase: MigrateProgress["phase"] | null = null;

  constructor(context: Context) {
    this.#context = context;
  }

  tell(progress: MigrateProgress): void {
    const { phase, rounds, warnings, expectedDowntimeMs, id } = progress;
    for (const warning of warnings) {
      if (!this.#warnings.has(warning)) this.#context.note(warning);
      this.#warnings.add(warning);
    }
    for (; this.#rounds < rounds.length; this.#rounds++) {
      const { sent, seconds, left } = rounds[this.#rounds]!;
      const expected = expectedDowntimeMs === null || !Number.isFinite(expectedDowntimeMs)
        ? "unknown"
        : time(expectedDowntimeMs / 1000);
      this.#context.note(
        `Round ${this.#rounds + 1}: ${bytes(sent)} in ${time(seconds)} (${rate(sent, seconds)}), ` +
          `${bytes(left)} left; expected downtime: ${expected}`,
      );
    }
    if (phase === this.#phase) return;
    this.#phase = phase;
    if (phase === "stopped") this.#context.note("The device stands still; the rest is sent");
    if (phase === "in-doubt") this.#context.note(inDoubt(id));
  }
}

function summary(report: MigrateReport, to: string): string[] {
  const { bytes: sent, downtime, downtimeSeconds, rounds, seconds } = report;
  const which = report.devices.map(({ name }) => name).join(", ");
  const parts = downtime.map(({ step, seconds }) => `${step} ${time(seconds)}`).join(", ");
  return [
    `Moved ${which} to ${to} in ${time(seconds)} (${count(rounds.length, "round")})`,
    `Downtime: ${time(downtimeSeconds)} (${parts})`,
    `Memory: ${bytes(sent.memory)} sent, ${bytes(sent.zero)} zero, ${bytes(sent.same)} the same; ` +
    `device data: ${bytes(sent.device)}`,
  ];
}
