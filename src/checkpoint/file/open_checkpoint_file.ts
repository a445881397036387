/**
 * Opens the file that a checkpoint is read from.
 *
 * @module
 */

import * as fs from "node:fs";
import { O_RDONLY } from "../../kernel/kernel.ts";
import { open } from "./_fd_io.ts";
import { OpenSource } from "./_open_source.ts";
import { findPathTarget, openPathTarget } from "./_path_target.ts";
import type { CheckpointSource } from "./checkpoint_source.ts";
import { fileError } from "./file_error.ts";

/**
 * Opens a checkpoint for reading: a regular file, a fifo, `/dev/fd/N`, or `-`
 * for stdin.
 *
 * Needs read access; in Deno also `--allow-ffi` for `/dev/fd/N`.
 *
 * @throws {CheckpointFileError} ENOENT, EACCES, EISDIR, …
 *
 * @example
 * ```ts
 * import { openCheckpointFile, verifyCheckpoint } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * await using source = await openCheckpointFile("fixtures/checkpoints/version-1.vfk");
 * assert.ok(source.seekable);
 * const { trailer } = await verifyCheckpoint(source.stream());
 * assert.equal(trailer.complete, true);
 * ```
 */
export async function openCheckpointFile(path: string): Promise<CheckpointSource> {
  try {
    const place = await findPathTarget(path, 0);
    if (place.kind !== "file") {
      return new OpenSource(path, await openPathTarget(place, O_RDONLY), null);
    }
    const fd = await open(place.path, fs.constants.O_RDONLY);
    return new OpenSource(path, { fd, owned: true }, fs.fstatSync(fd).size);
  } catch (error) {
    throw fileError("open", path, error);
  }
}
