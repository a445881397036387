/**
 * `vfiokit migrate`: moves a device and its memory to `receive`.
 *
 * @module
 */

import { type OpenDevices, openDevices } from "../../../mod.ts";
import { libcKernel } from "../../../src/kernel/mod.ts";
import {
  AttachedOwner,
  type Connection,
  demandMigration,
  migrate,
  type MigrateOptions,
  type MigrateProgress,
  type MigrateReport,
  type Owner,
} from "../../../src/live/mod.ts";
import type { Context } from "../../context.ts";
import { beforeEnd } from "../../dirty/measured_span.ts";
import { DONE } from "../../exit_codes.ts";
import {
  attach,
  type Attached,
  demandOffered,
  tellingOwner,
  type ToldOwner,
} from "../../lending/attached.ts";
import { refuseShared, toServe } from "../../lending/given_memory.ts";
import { lentMemory } from "../../lending/keep_open.ts";
import { lendable, refuseQuirk, trackedOptions } from "../../lending/open_devices.ts";
import { refuseUnlendable, runMeanwhile } from "../../lending/run_program.ts";
import { SimulatedDevices } from "../../lending/simulated_devices.ts";
import { connect, refuseStreams } from "../../migrate/connect.ts";
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
  refuseStreams(to, args.streams);
  const journal = journalFolder(args.journal);
  const events = { path: args.events, side: "source", context } as const;
  return await withEvents(events, (tell) => move({ ...args, to, journal }, context, tell));
}

/** What is moved, and who owns it. */
interface Moving {
  readonly devices: OpenDevices;
  readonly owner: (Owner & ToldOwner) | null;
  readonly tell: (progress: MigrateProgress) => void;
  readonly page: MigrationReport | null;
  /** Ends the migration, as long as it is not decided. */
  readonly signal: AbortSignal;
}

async function move(
  args: MigrateArgs & { readonly to: string; readonly journal: string },
  context: Context,
  tell: (progress: MigrateProgress) => void,
): Promise<number> {
  if (args.command !== undefined) refuseUnlendable(args.devices);
  refuseShared(args.devices, args.map);
  await using page = await MigrationReport.create(args);
  using attached = await attach(args.devices, args, "migrate", context);
  return await tellingOwner(
    attached.owner,
    () => moveAttached({ attached, tell, page }, args, context),
  );
}

async function moveAttached(
  { attached, tell, page }: Pick<Moving, "tell" | "page"> & { readonly attached: Attached },
  args: MigrateArgs & { readonly to: string; readonly journal: string },
  context: Context,
): Promise<number> {
  const { command } = args;
  const { names } = attached;
  await using served = await SimulatedDevices.serve(toServe(names, args));
  await using devices = await openDevices(names, {
    ...trackedOptions(attached, args, context),
    channels: served.channels,
  });
  context.drivers = devices;
  refuseQuirk(args, devices);
  await demandMigration(devices, "migrate");
  if (command === undefined) {
    const { signal } = context;
    await moveNow({ devices, owner: attached.owner, tell, page, signal }, args, context);
    return DONE;
  }
  const lent = AttachedOwner.lend({ purpose: "migrate" });
  using owner = lent.owner;
  const inheritance = {
    devices: devices.map(lendable),
    memory: lentMemory(devices),
    attach: lent.fd,
  };
  const program = runMeanwhile(command, inheritance, context);
  libcKernel().close(lent.fd);
  if (!await program.started) return await program.exitCode;
  // Signals that come while it runs are passed on to it, and do not abort the context's.
  const signal = AbortSignal.any([context.signal, program.interrupted]);
  const moving = { devices, owner, tell, page, signal };
  return await beforeEnd(
    () => program.exitCode,
    () =>
      tellingOwner(owner, () => moveUsed(moving, args, context)).catch((error) => {
        context.say(`${(error as Error).message}; this ends once the program has ended`);
        throw error;
      }),
  );
}

/** Moves devices that a program uses, which may say what it does for that. */
async function moveUsed(
  moving: Moving & { readonly owner: AttachedOwner },
  args: MigrateArgs & { readonly to: string; readonly journal: string },
  context: Context,
): Promise<void> {
  if (["reported", "protect"].includes(args.ownerWrites) || args.onNoConverge === "throttle") {
    demandOffered(args, await moving.owner.attached(moving.signal));
  }
  await moveNow(moving, args, context);
}

/** Moves the devices, and tells their owner if it succeeded. */
async function moveNow(
  moving: Moving,
  args: MigrateArgs & { readonly to: string; readonly journal: string },
  context: Context,
): Promise<void> {
  const { to } = args;
  const { owner, page } = moving;
  let report: MigrateReport;
  try {
    const connection = await connect(to, args, moving.signal);
    report = await shown(moving, connection, args, context);
  } catch (error) {
    await page?.write(null, (error as Error).message, context);
    throw error;
  }
  owner?.tell("committed");
  context.stands = true;
  await page?.write(report, null, context);
  context.set({ ...report, devices: report.devices.map(({ name, state }) => ({ name, state })) });
  context.summarize(...summary(report, { to, compress: args.compress }));
}

/** Migrates, and shows how it goes. */
async function shown(
  { devices, owner, tell, page, signal }: Moving,
  connection: Connection,
  args: MigrateArgs & { readonly to: string; readonly journal: string },
  context: Context,
): Promise<MigrateReport> {
  using shown = new MigrationProgress(args.devices, context);
  return await migrate(devices, connection, {
    ...liveOptions(args),
    streams: { count: args.streams, connect: () => connect(args.to, args, signal) },
    signal,
    owner: owner ?? undefined,
    onProgress: (progress) => {
      shown.tell(progress);
      page?.tell(progress);
      tell(progress);
    },
    onDirty: page === null ? undefined : (reading, number) => page.addReading(reading, number),
  });
}

function liveOptions(args: MigrateArgs & { readonly journal: string }): MigrateOptions {
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
  };
}

function summary(
  report: MigrateReport,
  { to, compress }: { readonly to: string; readonly compress: MigrateArgs["compress"] },
): string[] {
  const { bytes: kinds, downtime, downtimeSeconds, rounds, seconds, sent } = report;
  const which = report.devices.map(({ name }) => name).join(", ");
  const parts = downtime.map(({ step, seconds }) => `${step} ${time(seconds)}`).join(", ");
  return [
    `Moved ${which} to ${to} in ${time(seconds)} (${count(rounds.length, "round")})`,
    `Downtime: ${time(downtimeSeconds)} (${parts})`,
    `Sent: ${bytes(sent)}${compress === undefined ? "" : `, compressed by ${compress}`} ` +
    `(${bytes(kinds.memory)} of memory, ${bytes(kinds.device)} of device ` +
    `data); not sent: ${bytes(kinds.zero)} of zeros, ${bytes(kinds.same)} that had not changed`,
  ];
}
