/**
 * Tables of calls and answers: what a case is, and how cases are asked of a
 * kernel, the simulated one or a real one.
 *
 * @module
 */

import { SysError } from "../../../src/kernel/sys_error.ts";
import { Asker, type Host } from "./asker.ts";

/**
 * What a call answers: the name of an errno, or `0` and what it wrote behind.
 * Where kernels differ, the answer from each version on.
 */
export type Answer =
  | string
  | {
    readonly [since in "5.10" | "6.1" | "6.12" | "7.0"]?: string;
  };

/** One call; `A` is who asks. */
export interface Case<A = Asker> {
  /** What is asked. */
  readonly name: string;
  /** Asks it; returns what it wrote, in words, where that matters. */
  readonly ask: (asker: A) => string | void;
  /** What is answered for mediated devices. */
  readonly answer: Answer;
  /** What is answered with IOMMU hardware, where that is something else. */
  readonly hardware?: Answer;
  /**
   * Where it can be asked alone: `dma` of a device that can be told to write and
   * pin (none with hardware can), `no-hardware` where hardware would take long.
   */
  readonly only?: "dma" | "no-hardware";
}

/** Cases that build upon each other, with an address space of their own. */
export interface CaseGroup<A = Asker> {
  /** What they are about. */
  readonly name: string;
  /** Whether the device is opened before, in its address space. */
  readonly opened: boolean;
  /** In the order in which they are asked. */
  readonly cases: readonly Case<A>[];
}

/** A case, asked. */
export interface Row {
  readonly group: string;
  readonly name: string;
  readonly expected: string;
  readonly got: string;
}

/** What a kernel of a version should answer. */
export function expected(answer: Answer, version: string): string {
  if (typeof answer === "string") return answer;
  const known = Object.entries(answer).filter(([since]) => !isBefore(version, since));
  const latest = known.at(-1);
  if (latest === undefined) throw new TypeError(`Cannot say what Linux ${version} answers`);
  return latest[1];
}

function isBefore(version: string, since: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [sinceMajor = 0, sinceMinor = 0] = since.split(".").map(Number);
  return major === sinceMajor ? minor < sinceMinor : major < sinceMajor;
}

/** What of a host decides on what is asked, and on the answer. */
export type AskedOf = Pick<Host, "version" | "hardware" | "dma">;

function canAsk({ only }: Case<never>, { hardware, dma }: AskedOf): boolean {
  if (only === "dma") return dma !== null;
  return only === undefined || !hardware;
}

function ask<A>(item: Case<A>, asker: A): string {
  try {
    const wrote = item.ask(asker);
    return wrote === undefined || wrote === "" ? "0" : `0 ${wrote}`;
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

/** Asks a group's type1 cases. */
export function* askGroup(group: CaseGroup, host: Host): Generator<Row> {
  using asker = new Asker(host);
  yield* askCases(group, host, asker);
}

/** Asks a group's cases. */
export function* askCases<A extends { open(): void }>(
  group: CaseGroup<A>,
  host: AskedOf,
  asker: A,
): Generator<Row> {
  if (group.opened) asker.open();
  for (const item of group.cases) {
    if (!canAsk(item, host)) continue;
    yield {
      group: group.name,
      name: item.name,
      expected: expected(host.hardware ? item.hardware ?? item.answer : item.answer, host.version),
      got: ask(item, asker),
    };
  }
}
