/**
 * Opens and holds devices, for several commands.
 *
 * @module
 */

import type { Device, openDevices, OpenOptions } from "../../mod.ts";
import { lentFds, lentIoas, readMigrationFlags, type VfioDevice } from "../../src/vfio/mod.ts";
import type { Lendable } from "./run_program.ts";
import type { Context } from "../context.ts";
import { exitCodeOfWaiting } from "../signals.ts";
import { UsageError } from "../usage_error.ts";

/** How to open several devices. */
type OpenDevicesOptions = NonNullable<Parameters<typeof openDevices>[1]>;

/** The parsed options about opening and driving a device. */
export interface OpenArgs {
  /** `--vf-token`. */
  readonly vfToken?: string | undefined;
  /** `--group-fd`. */
  readonly groupFd?: number | undefined;
  /** `--container-fd`. */
  readonly containerFd?: number | undefined;
  /** `--via`. */
  readonly via?: OpenOptions["via"];
  /** `--quirk`. */
  readonly quirk?: OpenOptions["quirk"];
  /** `--on-error`. */
  readonly onError?: OpenOptions["onError"];
}

/**
 * The options for openDevice, from those of a command that opens these devices.
 *
 * @throws {UsageError} If an option has no effect on one of them.
 */
export function openOptions(
  args: OpenArgs,
  names: readonly string[],
  { trace }: Context,
): OpenOptions {
  refuseFds(args, names);
  const { vfToken, groupFd, containerFd, via, quirk, onError } = args;
  return { vfToken, groupFd, containerFd, via, quirk, onError, trace };
}

/** The parsed options about a device's memory. */
export interface MemoryArgs {
  /** `--map`. */
  readonly map: NonNullable<OpenOptions["maps"]>;
  /** `--tracker`. */
  readonly tracker: NonNullable<OpenOptions["tracker"]> | "none";
}

/**
 * The options for openDevice of devices with memory, which is mapped here, or by another process that
 * owns them. Without memory there is nothing to track.
 *
 * @throws {UsageError} As {@linkcode openOptions}.
 */
export function trackedOptions(
  { names, owner, each }: {
    readonly names: readonly string[];
    readonly owner: unknown;
    readonly each: OpenDevicesOptions["each"];
  },
  args: OpenArgs & MemoryArgs,
  context: Context,
): OpenDevicesOptions {
  const { map, tracker } = args;
  const tracked = tracker !== "none" && (owner !== null || map.length > 0);
  return {
    ...openOptions(args, names, context),
    maps: map,
    each,
    ...(tracked ? { tracker } : {}),
  };
}

/**
 * Refuses fds of a group and a container if the devices have their own.
 *
 * @throws {UsageError} If they would be ignored.
 */
export function refuseFds(
  { groupFd, containerFd }: Pick<OpenArgs, "groupFd" | "containerFd">,
  names: readonly string[],
): void {
  if (groupFd === undefined && containerFd === undefined) return;
  // A real device can be opened from an open group and its container.
  const both = groupFd !== undefined && containerFd !== undefined;
  const other = names.find((name) => !name.startsWith("fd:") && (!both || name.startsWith("sim:")));
  if (other === undefined) return;
  const option = groupFd === undefined ? "--container-fd" : "--group-fd";
  throw new UsageError(
    `Cannot use ${option} with "${other}": it tells what a borrowed device (fd:N) was opened by`,
  );
}

/**
 * Refuses a quirk of v1 drivers if none of the devices speaks v1, before anything is done to them.
 *
 * @throws {UsageError} If it would be ignored.
 */
export function refuseQuirk({ quirk }: OpenArgs, devices: readonly Device[]): void {
  if (quirk === undefined) return;
  if (!devices.every(({ description }) => description.protocol === "v2")) return;
  throw new UsageError(
    `Cannot use --quirk ${quirk}: it is about a driver of protocol v1, and ` +
      `${devices.map(({ name }) => name).join(", ")} ${devices.length > 1 ? "speak" : "speaks"} v2`,
  );
}

/** A device as it is lent to a program. */
export function lendable({ description: { label, fds, ioas, protocol } }: Device): Lendable {
  return { name: label, fds, ioas, protocol };
}

/** The same for a device that has no session. */
export function lendableVfio(device: VfioDevice): Lendable {
  // v1 needs nothing from a lender, so no protocol will do.
  const protocol = readMigrationFlags(device) === null ? null : "v2";
  return { name: device.label, fds: lentFds(device), ioas: lentIoas(device), protocol };
}

/**
 * Reports a failure and holds the device in its state for inspection (`--hold --on-error leave`);
 * returns the exit code of the failure. Rethrows any other failure.
 */
export async function holdFailed(
  error: unknown,
  args: OpenArgs & { readonly hold: boolean },
  context: Context,
): Promise<number> {
  const why = await context.explain(error);
  const left = args.onError === "leave" && why.deviceState !== null;
  if (!args.hold || !left || context.signal.aborted) throw error;
  const exitCode = await context.fail(why);
  await hold(context);
  return exitCode;
}

/** Waits for a signal while a device is held open; returns the exit code of that signal. */
export async function hold(context: Context): Promise<number> {
  context.note("Held open until a signal comes (Ctrl-C).");
  const { signal } = context;
  // A timer: without it, Bun sees nothing to wait for and exits.
  const alive = setInterval(() => {}, 60_000);
  try {
    if (!signal.aborted) {
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  } finally {
    clearInterval(alive);
  }
  return exitCodeOfWaiting(signal);
}
