/**
 * Opening and holding devices, as several commands do it.
 *
 * @module
 */

import type { Device, OpenOptions } from "../../mod.ts";
import { readMigrationFlags, type VfioDevice } from "../../src/vfio/mod.ts";
import type { Lendable } from "./child.ts";
import type { Context } from "../context.ts";
import { exitCodeOf, Interrupted } from "../signals.ts";
import { UsageError } from "../usage_error.ts";

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

/** What to say where the new state of so many devices is not kept. */
export function closed(devices: number): string {
  return devices === 1
    ? "The device is closed now, and its state is gone with it: --hold or -- COMMAND keep it open."
    : "The devices are closed now, and their states are gone with them: --hold or -- COMMAND keep them open.";
}

/**
 * What openDevice takes, out of the options of a command that opens these devices.
 *
 * @throws {UsageError} If there is an option that would mean nothing to one of them.
 */
export function openOptions(args: OpenArgs, names: readonly string[]): OpenOptions {
  refuseFds(args, names);
  const { vfToken, groupFd, containerFd, via, quirk, onError } = args;
  return { vfToken, groupFd, containerFd, via, quirk, onError };
}

/**
 * Refuses fds of a group and a container where the devices have their own.
 *
 * @throws {UsageError} If they would be ignored.
 */
export function refuseFds(
  { groupFd, containerFd }: Pick<OpenArgs, "groupFd" | "containerFd">,
  names: readonly string[],
): void {
  if (groupFd === undefined && containerFd === undefined) return;
  // A real device can be opened out of a group that is open, with its container.
  const both = groupFd !== undefined && containerFd !== undefined;
  const other = names.find((name) => !name.startsWith("fd:") && (!both || name.startsWith("sim:")));
  if (other === undefined) return;
  const option = groupFd === undefined ? "--container-fd" : "--group-fd";
  throw new UsageError(
    `Cannot use ${option} with "${other}": it tells what a borrowed device (fd:N) was opened by`,
  );
}

/**
 * Refuses a quirk of v1 drivers where none of the devices speaks v1; nothing was done to them yet.
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

/** A device as a program is lent it. */
export function lendable({ description: { label, fds, ioas, protocol } }: Device): Lendable {
  return { name: label, fds, ioas, protocol };
}

/** The same of a device that is open with nobody to drive it, with these fds. */
export function lendableVfio(device: VfioDevice, fds: Lendable["fds"]): Lendable {
  const { label: name, ioas } = device;
  // v1 needs nothing of a lender: it may count as none.
  const protocol = readMigrationFlags(device) === null ? null : "v2";
  return { name, fds, ioas: ioas?.id ?? null, protocol };
}

/**
 * Tells of a failure, and holds the device in the state that it was left in, for somebody to look
 * at (`--hold --on-error leave`); returns the exit code of the failure. Any other failure is
 * thrown on.
 */
export async function holdFailed(
  error: unknown,
  args: OpenArgs & { readonly hold: boolean },
  context: Context,
): Promise<number> {
  const { explain } = await import("../output/error_message.ts");
  const why = explain(error, context.signal.reason);
  const left = args.onError === "leave" && why.deviceState !== null;
  if (!args.hold || !left || context.signal.aborted) throw error;
  const exitCode = context.fail(why);
  await hold(context);
  return exitCode;
}

/** Waits for a signal while a device is held open; returns the exit code of that signal. */
export async function hold(context: Context): Promise<number> {
  context.note("Held open until a signal comes (Ctrl-C).");
  const { signal } = context;
  // A timer: without one Bun sees nothing to wait for and ends.
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
  return signal.reason instanceof Interrupted ? exitCodeOf(signal.reason.signalName) : 0;
}
