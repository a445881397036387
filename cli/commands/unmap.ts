/**
 * `vfiokit unmap`: memory taken back from a device, and its last dirty pages.
 *
 * @module
 */

import {
  DirtyRangeError,
  type DirtySession,
  type MappedDevice,
  type UnmapReading,
} from "../../src/dirty/mod.ts";
import type { IovaMapping } from "../../src/vfio/mod.ts";
import type { Context } from "../context.ts";
import { bytes, count, hex } from "../output/format.ts";
import { readAfterSpan } from "../dirty/measured_span.ts";
import { NO_READING, readingFields, runLines } from "../dirty/reading_report.ts";
import { notesOf } from "../dirty/rounds.ts";
import { pair } from "../dirty/samples.ts";
import { openMapped, openSession, serveSimulated, tellTracker } from "../dirty/open_session.ts";
import type { UnmapArgs } from "../specs/dirty_unmap.ts";

/** Runs `unmap`. */
export async function run(args: UnmapArgs, context: Context): Promise<number> {
  const { device, iova, size, withDirty } = args;
  context.set({ device, tracker: args.tracker, ...(withDirty ? { trackerReason: null } : {}) });
  context.set({ iova, size: Number(size), unmapped: null, mappingsLeft: null });
  if (withDirty) context.set(NO_READING);
  await using served = await serveSimulated(args);
  if (!withDirty) {
    // No tracker is needed for them.
    using mapped = openMapped(args, served, context);
    return await readAfterSpan(mapped, args, context, () => {
      const unmapped = attempt(() => mapped.space.unmap(iova, size), mapped, args, context);
      told({ unmapped, error: null }, mapped, args, context);
    });
  }
  using session = openSession(args, served, context);
  tellTracker(session, context);
  session.tracker.start();
  return await readAfterSpan(session, args, context, () => {
    unmapWithDirty(session, args, context);
  });
}

function unmapWithDirty(session: DirtySession, args: UnmapArgs, context: Context): void {
  const { iova, size } = args;
  const unmap = (): UnmapReading => session.tracker.unmapWithDirty(iova, size);
  const { reading, unmapped, error } = attempt(unmap, session, args, context);
  told({ unmapped, error }, session, args, context);
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

/** Unmaps; where that fails, says what is known of what it has done. */
function attempt<T>(
  unmap: () => T,
  { mappings }: Pick<MappedDevice, "mappings">,
  args: UnmapArgs,
  context: Context,
): T {
  try {
    return unmap();
  } catch (error) {
    const refused = error instanceof DirtyRangeError || args.size === 0n ||
      mappings.some((mapping) => cuts(args, mapping));
    if (refused) {
      // Nothing was done for such a range.
      context.set({ unmapped: 0, mappingsLeft: mappings.map(pair) });
    } else {
      context.print(`How much was unmapped in ${rangeOf(args)} is not known, nor what is left.`);
    }
    throw error;
  }
}

/** Whether a range has a part of a mapping, and not all of it. */
function cuts({ iova, size }: UnmapArgs, mapping: IovaMapping): boolean {
  const [end, mappingEnd] = [iova + size, mapping.iova + mapping.size];
  const overlaps = iova < mappingEnd && mapping.iova < end;
  return overlaps && (iova > mapping.iova || end < mappingEnd);
}

function rangeOf({ iova, size }: UnmapArgs): string {
  return `${hex(iova)}-${hex(iova + size - 1n)}`;
}

/** Tells what was unmapped and what is left; `error` is why that was not all. */
function told(
  { unmapped, error }: { readonly unmapped: bigint; readonly error: Error | null },
  { mappings }: Pick<MappedDevice, "mappings">,
  args: UnmapArgs,
  context: Context,
): void {
  const range = rangeOf(args);
  const nothing = error === null
    ? `Nothing is mapped in ${range}: nothing was unmapped.`
    : `Nothing is known to be unmapped in ${range}.`;
  context.set({ unmapped: Number(unmapped), mappingsLeft: mappings.map(pair) });
  context.print(
    unmapped === 0n ? nothing : `Unmapped ${bytes(Number(unmapped))} in ${range}.`,
    mappings.length === 0
      ? "Nothing is mapped any more."
      : `Still mapped: ${mappings.map(({ iova, size }) => `${hex(iova)}:${hex(size)}`).join(", ")}`,
  );
}
