/**
 * Opening and holding devices, as several commands do it.
 *
 * @module
 */

import { type Device, type OpenOptions, readMigrationFlags, type VfioDevice } from "../mod.ts";
import type { Lendable } from "./_child.ts";
import type { Context } from "./_context.ts";
import { exitCodeOf, Interrupted } from "./_signals.ts";

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

/** What openDevice takes, out of the options of a command. */
export function openOptions(args: OpenArgs): OpenOptions {
  const { vfToken, groupFd, containerFd, via, quirk, onError } = args;
  return { vfToken, groupFd, containerFd, via, quirk, onError };
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
  const { explain } = await import("./_errors.ts");
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
