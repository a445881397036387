/**
 * Keeping devices open at the end of a command: `--hold` and `-- COMMAND`.
 *
 * @module
 */

import type { Device } from "../../mod.ts";
import type { Context } from "../context.ts";
import { UsageError } from "../usage_error.ts";
import { hold, lendable } from "./open_devices.ts";
import { type LentMemory, runProgram } from "./run_program.ts";

/** The parsed options about what holds the devices open. */
export interface KeepArgs {
  /** `--hold`. */
  readonly hold: boolean;
  /** `-- COMMAND`. */
  readonly command?: readonly string[] | undefined;
}

/**
 * Refuses `--hold` with a program.
 *
 * @throws {UsageError} If both were given.
 */
export function refuseBoth({ hold, command }: KeepArgs): void {
  if (!hold || command === undefined) return;
  throw new UsageError("Cannot use both --hold and a program: either one holds");
}

/**
 * Holds the devices, or runs the program with them; the result is published before.
 *
 * @returns The exit code; null if neither was asked for.
 */
export async function keepOpen(
  args: KeepArgs,
  devices: readonly Device[],
  context: Context,
): Promise<number | null> {
  const { command } = args;
  if (command === undefined && !args.hold) return null;
  await context.publish();
  return command === undefined ? await hold(context) : await runProgram(
    command,
    { devices: devices.map(lendable), memory: lentMemory(devices) },
    context,
  );
}

/** The memory that a program is lent with a device; each of several has its own, and none is lent. */
export function lentMemory(devices: readonly Device[]): LentMemory | undefined {
  const [only, ...others] = devices;
  return others.length > 0 ? undefined : only?.description.memory ?? undefined;
}

/** Says that the new state of devices that are closed now is not kept. */
export function noteClosed(devices: readonly Device[], context: Context): void {
  const owned = devices.filter(({ description }) => !description.borrowed);
  if (owned.length === 0) return;
  context.note(
    owned.length === 1
      ? "The device is closed now, and its state is gone with it: --hold or -- COMMAND keep it open."
      : "The devices are closed now, and their states are gone with them: --hold or -- COMMAND keep them open.",
  );
}
