/**
 * Reads what a `vfiokit` that lends devices to this program says about them.
 *
 * @module
 */

import type { OpenOptions } from "../../mod.ts";
import { env } from "../env.ts";
import { UsageError } from "../usage_error.ts";

/** The variable that lists them; in Deno, reading it needs `--allow-env=VFIOKIT_DEVICES`. */
const VARIABLE = "VFIOKIT_DEVICES";

/**
 * The sockets for the data fd of a device that was lent as `fd:N`; undefined if none was lent, or
 * if the variable may not be read.
 *
 * @throws {UsageError} If the variable's value is invalid.
 */
export function lentDataFdSockets(name: string): OpenOptions["dataFdSockets"] {
  const fd = /^fd:(\d+)$/.exec(name)?.[1];
  const text = fd === undefined ? undefined : env(VARIABLE);
  if (text === undefined) return undefined;
  const lent = listed(text).find(({ device }) => device === Number(fd));
  if (lent?.["data"] == null) return undefined;
  const [put, take] = Array.isArray(lent["data"]) ? lent["data"] as unknown[] : [];
  if (!isFd(put) || !isFd(take)) throw refusal(`"data" of device ${fd} is no pair of fds`);
  return { put, take };
}

function listed(text: string): readonly Record<string, unknown>[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    throw refusal("it is no JSON");
  }
  if (!Array.isArray(list)) throw refusal("it is no list");
  return list.filter((entry) => typeof entry === "object" && entry !== null);
}

function isFd(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31;
}

function refusal(problem: string): UsageError {
  return new UsageError(`Cannot use ${VARIABLE}: ${problem}`);
}
