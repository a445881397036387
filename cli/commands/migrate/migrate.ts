/**
 * `vfiokit migrate`: moves a device and its memory to `receive`.
 *
 * @module
 */

import { type OpenDevices, openDevices } from "../../../mod.ts";
import {
  type Connection,
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
import { MigrationReport } from "../../migrate/migration_report.ts";
import { MigrationProgress } from "../../migrate/progress.ts";
import { resolveMigration } from "../../migrate/resolve.ts";
import { bytes, count, time } from "../../output/format.ts";
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
  await using page = await MigrationReport.create(args);
  await using served = await SimulatedDevices.serve(toServe(names, args));
  await using devices = await openDevices(names, {
    ...openOptions(args, names, context),
    ...memoryOptions(args),
    channels: served.channels,
  });
  context.drivers = devices;
  refuseQuirk(args, devices);
  const connection = await connect(to, args, context.signal);
  let report: MigrateReport;
  try {
    report = await shown({ devices, connection, tell, page }, args, context);
  } catch (error) {
    await page?.write(null, (error as Error).message, context);
    throw error;
  }
  context.stands = true;
  await page?.write(report, null, context);
  context.set({ ...report, devices: report.devices.map(({ name, state }) => ({ name, state })) });
  context.summarize(...summary(report, to));
  return DONE;
}

/** Migrates, and shows how it goes. */
async function shown(
  { devices, connection, tell, page }: {
    readonly devices: OpenDevices;
    readonly connection: Connection;
    readonly tell: (progress: MigrateProgress) => void;
    readonly page: MigrationReport | null;
  },
  args: MigrateArgs & { readonly journal: string },
  context: Context,
): Promise<MigrateReport> {
  using shown = new MigrationProgress(args.devices, context);
  return await migrate(devices, connection, {
    ...liveOptions(args, context),
    onProgress: (progress) => {
      shown.tell(progress);
      page?.tell(progress);
      tell(progress);
    },
    onDirty: page === null ? undefined : (reading, number) => page.addReading(reading, number),
  });
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
    compress: args.compress,
    timeoutMs: args.timeout,
    signal,
  };
}

function summary(report: MigrateReport, to: string): string[] {
  const { bytes: kinds, downtime, downtimeSeconds, rounds, seconds, sent } = report;
  const which = report.devices.map(({ name }) => name).join(", ");
  const parts = downtime.map(({ step, seconds }) => `${step} ${time(seconds)}`).join(", ");
  return [
    `Moved ${which} to ${to} in ${time(seconds)} (${count(rounds.length, "round")})`,
    `Downtime: ${time(downtimeSeconds)} (${parts})`,
    `Sent: ${bytes(sent)} (${bytes(kinds.memory)} of memory, ${bytes(kinds.device)} of device ` +
    `data); not sent: ${bytes(kinds.zero)} of zeros, ${bytes(kinds.same)} that had not changed`,
  ];
}
