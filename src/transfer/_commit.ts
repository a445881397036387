/**
 * The last steps of a save, once the devices have their last state: what was
 * written is read back, and gets its place.
 */

import { cleanedUpAsync } from "../base/cleanup.ts";
import type { ReadBack, ReadBackReport } from "../checkpoint/read_back.ts";
import type { CheckpointSink } from "./sinks_and_sources.ts";
import type { DeviceTotals } from "../checkpoint/metadata/trailer.ts";

/** What became of a checkpoint. */
export interface CommitResult {
  /** Why it is not in its place; null if it is. */
  readonly error: Error | null;
  /** Whether it was read back. */
  readonly readBack: ReadBackReport;
}

/** A checkpoint that was put in its place without being read back. */
export function committedUnread(sink: CheckpointSink): CommitResult {
  const reason = sink.readBack === undefined ? "not-a-file" : "not-wanted";
  return { error: null, readBack: { done: false, seconds: null, reason } };
}

/** Reads a checkpoint back and puts it in its place; if either fails, no file is left. */
export async function commit(
  sink: CheckpointSink,
  readBack: ReadBack,
  moved: readonly DeviceTotals[],
  signal: AbortSignal | undefined,
): Promise<CommitResult> {
  try {
    await readBack.run(moved, signal);
    await sink.commit();
    return { error: null, readBack: readBack.report };
  } catch (error) {
    const first = await cleanedUpAsync(error, () => sink.abort());
    return { error: first as Error, readBack: readBack.report };
  }
}
