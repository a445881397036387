/**
 * Creates the file that a checkpoint is written to.
 *
 * @module
 */

import { AtomicTarget } from "./_atomic_target.ts";
import { DirectTarget } from "./_direct_target.ts";
import { CheckpointWriter } from "./_checkpoint_writer.ts";
import { findPathTarget } from "./_path_target.ts";
import { fileError } from "./file_error.ts";
import { Ending } from "../../base/ending.ts";
import type { CheckpointFile } from "./checkpoint_file.ts";

/** Options of creating a checkpoint's file. */
export interface CreateFileOptions {
  /** Replace an existing regular file. Default false. */
  readonly force?: boolean | undefined;
  /**
   * The permission bits of a regular file, less those of the umask. Default
   * 0o600: a device's state is its owner's alone.
   */
  readonly mode?: number | undefined;
  /** Ends the wait for a fifo's reader, with its reason. A regular file needs no wait. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Creates the file for a checkpoint. A regular file is written under a
 * temporary name in the same folder (`.NAME.vfiokit-XXXXXXXX.partial`) and
 * appears under its own name, whole, at the commit. A symbolic link is followed, and its target is
 * replaced. Anything else (a device, a fifo, `/dev/fd/N`, or `-` for stdout) is written in place.
 *
 * Needs read and write access to the folder; in Deno also `--allow-ffi` for
 * `/dev/fd/N` and devices other than /dev/null.
 *
 * @param path The file's path; `-` for stdout.
 * @throws {CheckpointFileError} EEXIST if the file exists and `force` is not set; EISDIR, ENOENT,
 * EACCES, …
 *
 * @example
 * ```ts
 * import { createCheckpointFile } from "vfiokit";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const folder = fs.mkdtempSync("/tmp/vfiokit-");
 * {
 *   await using file = await createCheckpointFile(`${folder}/a.vfk`);
 *   await file.write(new Uint8Array(1000));
 *   assert.equal(fs.existsSync(`${folder}/a.vfk`), false);
 *   await file.commit();
 * }
 * assert.deepEqual(fs.readdirSync(folder), ["a.vfk"]);
 * fs.rmSync(folder, { recursive: true });
 * ```
 */
export async function createCheckpointFile(
  path: string,
  options: CreateFileOptions = {},
): Promise<CheckpointFile> {
  const { force = false, mode = 0o600, signal } = options;
  try {
    const place = await findPathTarget(path, 1);
    const target = place.kind === "file"
      ? await AtomicTarget.create(path, place, { force, mode })
      : await createDirect(place, signal);
    return new CheckpointWriter(path, target);
  } catch (error) {
    if (signal?.aborted === true && error === signal.reason) throw error;
    throw fileError("create", path, error);
  }
}

/** Opens it, or gives up at the signal; an fd that is opened after that is closed. */
async function createDirect(
  place: Parameters<typeof DirectTarget.create>[0],
  signal: AbortSignal | undefined,
): Promise<DirectTarget> {
  using ending = new Ending(signal);
  const opening = DirectTarget.create(place);
  try {
    return await ending.until(opening);
  } catch (error) {
    opening.then((target) => target.abort(), () => {});
    throw error;
  }
}
