/**
 * `vfiokit dirty get`: the pages that a device dirties in a while.
 *
 * @module
 */

import process from "node:process";
import type { CheckpointFile } from "../../../src/checkpoint/mod.ts";
import { createCheckpointFile } from "../../../mod.ts";
import { DirtyReading, type DirtyTracker } from "../../../src/dirty/mod.ts";
import type { Context } from "../../context.ts";
import { bytes, count, time } from "../../output/format.ts";
import { readAfterSpan } from "../../dirty/measured_span.ts";
import { NO_READING, readingFields, runLines } from "../../dirty/reading_report.ts";
import { both, notesOf } from "../../dirty/rounds.ts";
import { openSession, serveSimulated, tellTracker } from "../../dirty/open_session.ts";
import { UsageError } from "../../usage_error.ts";
import type { DirtyGetArgs } from "../../specs/dirty_unmap.ts";

/** Reads that a pinned page must be dirty in, after the first two. */
const MORE_READS = 6;

/** Runs `dirty get`. */
export async function run(args: DirtyGetArgs, context: Context): Promise<number> {
  const { device, output = "-", format } = args;
  context.set({ device, tracker: args.tracker, trackerReason: null, seconds: null, ...NO_READING });
  if (context.json && format === "bitmap") {
    throw new UsageError("Cannot use both --json and --format bitmap: there is one result");
  }
  if (args.jsonFile !== undefined && args.output !== undefined) {
    throw new UsageError("Cannot use both --json=FILE and --output: there is one result");
  }
  if (format === "bitmap" && output === "-" && args.command !== undefined) {
    throw new UsageError("Cannot write a bitmap to stdout: it is COMMAND's; name a file by -o");
  }
  if (format === "bitmap" && output === "-" && process.stdout.isTTY) {
    throw new UsageError("Cannot write a bitmap to a terminal: name a file by -o, or use a pipe");
  }
  // Given up when the block ends without a commit: nothing is left of it then.
  await using file = output === "-"
    ? null
    : await createCheckpointFile(output, { force: args.force, mode: 0o666 });
  const exitCode = await read(args, context, file);
  if (context.json && file !== null) {
    // After the session has ended: if that fails, no file appears, and stdout gets the document.
    context.ending(exitCode);
    await context.publishTo((text) => put([new TextEncoder().encode(text)], file, context));
  }
  return exitCode;
}

async function read(
  args: DirtyGetArgs,
  context: Context,
  file: CheckpointFile | null,
): Promise<number> {
  await using served = await serveSimulated(args);
  using session = openSession(args, served, context);
  tellTracker(session, context);
  session.tracker.start();
  const started = performance.now();
  return await readAfterSpan(session, args, context, async () => {
    const reading = readOnce(session.tracker);
    const seconds = (performance.now() - started) / 1000;
    context.set({ seconds, ...readingFields(reading, session.tracker.pgsize) });
    if (!context.json && args.format === "bitmap") {
      await put(reading.ranges.map(({ bitmap }) => bitmap.toBytes()), file, context);
    } else if (!context.json) {
      await put([new TextEncoder().encode(runLines(reading))], file, context);
    }
    context.note(summary(reading, session.tracker.pgsize, seconds), ...notesOf(reading));
  });
}

/**
 * Reads; and reads on at once, to tell pinned pages, which stay dirty, from
 * those that a busy device writes to again.
 */
function readOnce(tracker: DirtyTracker): DirtyReading {
  const reading = tracker.read({ twice: true });
  if (reading.ranges.every(({ pinned }) => pinned === null || pinned.count() === 0)) return reading;
  const tells = reading.verdict !== "does-not-track";
  let pinned = reading.ranges.map((range) => tells ? range.pinned : null);
  for (let read = 0; read < MORE_READS; read++) {
    const { ranges } = tracker.read();
    pinned = pinned.map((bitmap, index) => both(bitmap, ranges[index]!.bitmap));
  }
  const ranges = reading.ranges.map((range, index) => ({ ...range, pinned: pinned[index]! }));
  return new DirtyReading(ranges, reading.verdict);
}

function summary(reading: DirtyReading, pgsize: number, seconds: number): string {
  const { dirtyPages, pinnedPages, pages } = reading;
  const pinned = pinnedPages === null || pinnedPages === 0 ? "" : `, ${pinnedPages} of them pinned`;
  return `${count(dirtyPages, "page")} of ${pages} dirty after ${time(seconds)} ` +
    `(${bytes(dirtyPages * pgsize)})${pinned}.`;
}

/** Writes the result to the file, which is whole then, or to stdout. */
async function put(
  chunks: readonly Uint8Array<ArrayBuffer>[],
  file: CheckpointFile | null,
  context: Context,
): Promise<void> {
  for (const chunk of chunks) await (file?.write(chunk) ?? context.writeResult(chunk));
  await file?.commit();
}
