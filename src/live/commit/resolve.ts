/**
 * Decides, from both journals, about a migration whose sides lost each other.
 *
 * @module
 */

import type { Entry, JournalView } from "./journal.ts";

/** What a side is to do. */
export type Order = "run" | "drop" | "reset";

/**
 * How a migration ends.
 *
 * - `settled`: there is nothing to do; the device runs at `where`, or last ran there.
 * - `decided`: enter these orders in the journals.
 * - `under-way`: a process still works on it.
 * - `choose`: the destination ended while it began to run, so its device may have worked on. The
 *   source may run again only if the caller insists.
 * - `lost`: no process has the state any more.
 * - `unknown`: it depends on whether the other side's process exists, which is not known here.
 */
export type Resolution =
  | { readonly kind: "settled"; readonly where: "source" | "destination"; readonly why: string }
  | {
    readonly kind: "decided";
    readonly source: Order | null;
    readonly destination: Order | null;
    readonly why: string;
  }
  | { readonly kind: "under-way" | "choose" | "lost" | "unknown"; readonly why: string };

/** What the caller knows. */
export interface ResolveOptions {
  /** A process that cannot be looked at from here has ended. */
  readonly peerEnded?: boolean | undefined;
  /** The source runs again although the destination may have worked on. */
  readonly insistOnSource?: boolean | undefined;
}

/** One side, as its journal shows it. */
interface Shown {
  /** The last entry that says where it is; null if it had decided nothing. */
  readonly last: Entry | null;
  /** Whether it stays stopped until an order comes. */
  readonly waits: boolean;
  /** Whether it will never run its device again. */
  readonly gone: boolean;
  readonly alive: boolean | null;
}

function shown(view: JournalView, peerEnded: boolean): Shown {
  const own = view.entries.filter((entry) => !["run", "drop", "reset"].includes(entry));
  const waits = own.at(-1) === "doubt";
  const last = own.findLast((entry) => entry !== "doubt") ?? null;
  const alive = view.alive ?? (peerEnded ? false : null);
  return { last, waits, gone: alive === false || last === "done", alive };
}

/**
 * Decides what both sides do. The rules hold whichever messages were lost: no order
 * lets a device run while the other's may.
 *
 * @param source The source's journal.
 * @param destination The destination's journal.
 *
 * @example
 * ```ts
 * import { resolve } from "vfiokit/live";
 * import assert from "node:assert/strict";
 *
 * const process = { pid: 1, started: "1", boot: "b" };
 * const id = "0".repeat(32);
 * const verdict = resolve(
 *   { id, side: "source", process, entries: ["commit", "doubt"], alive: true },
 *   { id, side: "destination", process, entries: ["loaded", "doubt"], alive: true },
 * );
 * assert.equal(verdict.kind, "decided");
 * assert.equal(verdict.kind === "decided" && verdict.destination, "run");
 * ```
 */
export function resolve(
  source: JournalView,
  destination: JournalView,
  { peerEnded = false, insistOnSource = false }: ResolveOptions = {},
): Resolution {
  const from = shown(source, peerEnded);
  const to = shown(destination, peerEnded);
  const orders = (
    forSource: Order | null,
    forDestination: Order | null,
    why: string,
  ): Resolution => ({
    kind: "decided",
    source: forSource,
    destination: forDestination,
    why,
  });
  const runSource = (why: string): Resolution => {
    if (from.gone) return { kind: "lost", why: `${why}, and the source has ended` };
    if (!from.waits) return { kind: "under-way", why: "the source's process is at work" };
    return orders("run", null, why);
  };

  if (from.last === "back") {
    const why = "the source went back to its own device";
    return to.waits && to.alive !== false
      ? orders(null, "reset", why)
      : { kind: "settled", where: "source", why };
  }
  if (to.last === "running") {
    const why = "the destination's device was made to run";
    return from.waits && from.alive !== false
      ? orders("drop", null, why)
      : { kind: "settled", where: "destination", why };
  }
  if (to.last === "refused") return runSource("the destination refused, and reset its device");
  if (to.last === "starting") {
    if (to.alive === true) {
      return { kind: "under-way", why: "the destination is making its device run" };
    }
    if (to.alive === null) {
      return { kind: "unknown", why: "the destination was making its device run" };
    }
    const why = "the destination ended while its device began to run";
    if (from.gone) return { kind: "lost", why: `${why}, and the source has ended` };
    return insistOnSource ? runSource(why) : { kind: "choose", why };
  }
  if (to.last === null) {
    // It has not taken everything, and cannot be made to run.
    if (from.last === "commit") {
      return {
        kind: "unknown",
        why: "the destination's journal lacks what the source's relies on",
      };
    }
    return from.gone
      ? { kind: "lost", why: "the source ended before the destination had everything" }
      : { kind: "under-way", why: "the source had decided nothing: it goes back by itself" };
  }
  // The destination has everything, and has not begun to run.
  if (to.alive === false) return runSource("the destination ended without having run its device");
  if (!to.waits) return { kind: "under-way", why: "the destination's process is at work" };
  // The source is dropped once the destination runs: until then it may be the one that is left.
  if (from.waits) return orders(null, "run", "the source is stopped, and the destination has all");
  if (from.gone) return orders(null, "run", "the source has ended, and the destination has all");
  return from.alive
    ? { kind: "under-way", why: "the source's process is at work" }
    : { kind: "unknown", why: "the source may have gone back to its own device" };
}
