/**
 * `vfiokit unmap`: memory taken back from a device, and its last dirty pages.
 *
 * @module
 */

import type { DirtySession, MappedDevice } from "../../mod.ts";
import type { Context } from "../_context.ts";
import { bytes, count, hex } from "../_format.ts";
import { lookAfter } from "../_meanwhile.ts";
import { readingFields, runLines } from "../_reading.ts";
import { notesOf } from "../_rounds.ts";
import { pair } from "../_samples.ts";
import { openMapped, openSession, tellTracker } from "../_session.ts";
import type { UnmapArgs } from "../table/dirty.ts";

/** Runs `unmap`. */
export async function run(args: UnmapArgs, context: Context): Promise<number> {
  const { device, iova, size, withDirty } = args;
  context.set({ device, tracker: args.tracker, iova, size: Number(size), unmapped: 0 });
  if (!withDirty) {
    // Nobody has to be found who tracks them.
    using mapped = openMapped(args);
    return await lookAfter(mapped, args, context, true, () => {
      told(mapped.space.unmap(iova, size), mapped, args, context);
    });
  }
  using session = openSession(args);
  tellTracker(session, context);
  session.tracker.start();
  return await lookAfter(session, args, context, true, () => {
    unmapWithDirty(session, args, context);
  });
}

function unmapWithDirty(session: DirtySession, args: UnmapArgs, context: Context): void {
  const { reading, unmapped, error } = session.tracker.unmapWithDirty(args.iova, args.size);
  told(unmapped, session, args, context);
  const { pgsize } = session.tracker;
  context.set(readingFields(reading, pgsize));
  context.print(
    `${count(reading.dirtyPages, "page")} dirty (${bytes(reading.dirtyPages * pgsize)})` +
      (reading.dirtyPages === 0 ? "." : ":"),
    ...runLines(reading).split("\n").slice(0, -1).map((line) => `  ${line}`),
  );
  context.note(...notesOf(reading));
  if (error !== null) throw error;
}

function told(
  unmapped: bigint,
  { mappings }: Pick<MappedDevice, "mappings">,
  { iova, size }: UnmapArgs,
  context: Context,
): void {
  const range = `${hex(iova)}-${hex(iova + size - 1n)}`;
  context.set({ unmapped: Number(unmapped), mappingsLeft: mappings.map(pair) });
  context.print(
    unmapped === 0n
      ? `Nothing is mapped in ${range}: nothing was unmapped.`
      : `Unmapped ${bytes(Number(unmapped))} in ${range}.`,
    mappings.length === 0
      ? "Nothing is mapped any more."
      : `Still mapped: ${mappings.map(({ iova, size }) => `${hex(iova)}:${hex(size)}`).join(", ")}`,
  );
}
