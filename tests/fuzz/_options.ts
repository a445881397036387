/**
 * The options of a campaign.
 */

import { randomBytes } from "node:crypto";
import { kindOf, KINDS } from "./_kinds.ts";

/** How to attack. */
export interface Options {
  /** How long, in seconds. */
  readonly seconds: number;
  /** The seed of each kind's first try; each next one has the next. */
  readonly seed: number;
  /** The names of the kinds. */
  readonly only: readonly string[];
  /** Tries of each kind, at most. */
  readonly tries: number;
  /** The plan to carry out in place of those that seeds make, as a find tells it; null for none. */
  readonly plan: unknown;
}

/** How it is called. */
export const USAGE =
  `deno task fuzz [--seconds N] [--seed N] [--only KIND[,KIND]] [--tries N] [--plan JSON]
kinds: ${KINDS.map(({ name }) => name).join(", ")}`;

/**
 * Reads a command line.
 *
 * @throws {RangeError} If it makes no sense.
 */
export function parseOptions(words: readonly string[]): Options {
  const given = new Map<string, string>();
  for (let index = 0; index < words.length; index += 2) {
    const [name = "", value] = [words[index], words[index + 1]];
    if (!["--seconds", "--seed", "--only", "--tries", "--plan"].includes(name)) {
      throw new RangeError(`there is no option ${name}`);
    }
    if (value === undefined || given.has(name)) {
      throw new RangeError(`${name} takes one value, once`);
    }
    given.set(name, value);
  }
  const number = (name: string, byDefault: number): number => {
    const value = given.get(name);
    if (value === undefined) return byDefault;
    if (!/^\d{1,10}$/.test(value)) throw new RangeError(`${name} ${value} is no number`);
    return Number(value);
  };
  const only = given.get("--only")?.split(",") ?? KINDS.map(({ name }) => name);
  for (const name of only) kindOf(name);
  const plan = planOf(given.get("--plan"));
  if (plan !== null && only.length !== 1) throw new RangeError("--plan goes with one --only");
  const tries = number("--tries", plan === null ? Infinity : 1);
  return {
    seconds: number("--seconds", tries === Infinity ? 60 : 2 ** 31),
    seed: number("--seed", randomBytes(4).readUInt32LE() % 1_000_000_000),
    only,
    tries,
    plan,
  };
}

function planOf(text: string | undefined): unknown {
  if (text === undefined) return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new RangeError("--plan takes JSON, as a find prints it");
  }
}
