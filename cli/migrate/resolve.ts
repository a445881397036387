/**
 * `vfiokit migrate --resolve ID`: decides about a migration that ended in doubt.
 *
 * @module
 */

import { addDecision, journalPath, readJournal, resolve } from "../../src/live/mod.ts";
import type { JournalView, Resolution, Side } from "../../src/live/mod.ts";
import type { Context } from "../context.ts";
import { CANNOT, DONE, FAILED } from "../exit_codes.ts";
import type { MigrateArgs } from "../specs/migrate/migrate.ts";
import { UsageError } from "../usage_error.ts";
import { journalFolder } from "./journal_folder.ts";

/** What is to be done about a migration in doubt. */
export function inDoubt(id: string): string {
  return `Migration ${id} is in doubt: the device stands still. On each machine, with the other's ` +
    `journal: vfiokit migrate --resolve ${id}`;
}

/** Decides, and enters the decision in the journals on this machine. */
export function resolveMigration(args: MigrateArgs, id: string, context: Context): number {
  if (!/^[0-9a-f]{32}$/.test(id)) {
    throw new UsageError(`Cannot resolve "${id}": a migration's id is 32 hex digits`);
  }
  const folder = journalFolder(args.journal);
  const other = args.other === undefined ? null : readJournal(args.other);
  const own = (side: Side): JournalView =>
    other?.side === side ? other : readJournal(journalPath(folder, id, side));
  const views = { source: own("source"), destination: own("destination") };
  const verdict = resolve(views.source, views.destination, {
    peerEnded: args.peerEnded,
    insistOnSource: args.insist,
  });
  if (verdict.kind === "decided") {
    for (const side of ["source", "destination"] as const) {
      const order = verdict[side];
      if (order !== null && other?.side !== side) addDecision(journalPath(folder, id, side), order);
    }
  }
  const alive = verdict.kind === "settled" ? views[verdict.where].alive : null;
  context.set({ id, ...verdict, ...(verdict.kind === "settled" ? { alive } : {}) });
  context.print(`Migration ${id}: ${words(verdict, alive)}`);
  if (verdict.kind === "lost") return FAILED;
  return verdict.kind === "decided" || verdict.kind === "settled" ? DONE : CANNOT;
}

/** `alive` says whether the process lives that has the device, as far as that is known. */
function words(verdict: Resolution, alive: boolean | null): string {
  const { kind, why } = verdict;
  switch (kind) {
    case "settled":
      return alive === false
        ? `the ${verdict.where} ran (${why}), and its process has ended since: the device's state ` +
          "went with it, unless another process has it open; there is nothing to decide"
        : `the ${verdict.where} runs (${why}); there is nothing to decide`;
    case "decided": {
      const orders = (["source", "destination"] as const).flatMap((side) =>
        verdict[side] === null ? [] : [`the ${side} is to ${verdict[side]}`]
      );
      return `${orders.join(", ")} (${why})`;
    }
    case "under-way":
      return `a process is at work: ${why}`;
    case "choose":
      return `${why}, and may have worked on: look at its device; --insist-on-source lets the ` +
        "source run";
    case "lost":
      return `the state is lost: ${why}`;
    case "unknown":
      return `this cannot be told here: ${why}; --peer-ended vouches that its process has ended`;
  }
}
