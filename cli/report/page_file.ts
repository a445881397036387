/**
 * The file of an HTML page: created before the work begins, written at the end, and in its place
 * only when it is whole.
 *
 * @module
 */

import { type CheckpointFile, createCheckpointFile } from "../../src/checkpoint/mod.ts";
import type { Context } from "../context.ts";

/** A page's file. Closed without having been written it leaves nothing. */
export class PageFile implements AsyncDisposable {
  readonly #file: CheckpointFile;

  private constructor(file: CheckpointFile) {
    this.#file = file;
  }

  /**
   * Creates the file.
   *
   * @throws {CheckpointFileError} EEXIST if a file is there and `force` is not set; ENOENT, …
   */
  static async create(path: string, force: boolean): Promise<PageFile> {
    return new PageFile(await createCheckpointFile(path, { force, mode: 0o666 }));
  }

  /**
   * Writes the page, and says where it is.
   *
   * @throws {CheckpointFileError} With the errno's name, such as ENOSPC.
   */
  async write(html: string, context: Context): Promise<void> {
    await this.#file.write(new TextEncoder().encode(html));
    await this.#file.commit();
    context.note(`The report is in ${this.#file.path}.`);
  }

  /** Gives up what was not written, at the end of a block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.abort();
  }
}
