/**
 * A regular file that appears whole or not at all.
 */

import { cleanedUpAsync } from "../../base/cleanup.ts";
import type { Hint } from "../../base/vfiokit_error.ts";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import process from "node:process";
import { close, open, sync } from "./_fd_io.ts";
import { splitPath } from "./_path_target.ts";
import type { AbortResult, FileTarget } from "./_file_target.ts";
import { OpenSource } from "./_open_source.ts";
import { errnoOf } from "../../kernel/errno_names.ts";
import { CheckpointFileError, errnoError, fileError, whyFailed } from "./file_error.ts";

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants;

/** What link(2) answers on a file system without hard links. */
const NO_LINKS: readonly string[] = ["EPERM", "ENOSYS", "EOPNOTSUPP", "EMLINK"];

const FORCE_HINT: Hint = {
  text: "give another name, or have the file replaced",
  remedy: "force",
};

/** A temporary name in the file's folder, within the 255 bytes of a name. */
function partialName(name: string): string {
  let stem = name;
  while (new TextEncoder().encode(stem).length > 200) stem = stem.slice(0, -1);
  return `.${stem}.vfiokit-${randomBytes(4).toString("hex")}.partial`;
}

/** The temporary files of this process. */
const partials = new Set<string>();

/** Removes them if the process exits early. */
function removePartials(): void {
  for (const path of partials) {
    try {
      fs.unlinkSync(path);
    } catch {
      // It is gone or it stays: the process exits.
    }
  }
}

function forget(partial: string): void {
  partials.delete(partial);
  if (partials.size === 0) process.off("exit", removePartials);
}

/** A file that is written under a temporary name, and its folder. */
export class AtomicTarget implements FileTarget {
  readonly direct = false;
  /** The file as the caller named it, for messages. */
  readonly #label: string;
  readonly #path: string;
  readonly #partial: string;
  readonly #force: boolean;
  /** Whether there is a file to replace. */
  readonly #exists: boolean;
  readonly #folder: number;
  /** Where to write. */
  readonly fd: number;
  #fdOpen = true;
  #folderOpen = true;
  #placed = false;

  private constructor(
    names: { label: string; path: string; partial: string },
    exists: boolean,
    force: boolean,
    fds: { folder: number; fd: number },
  ) {
    this.#label = names.label;
    this.#path = names.path;
    this.#partial = names.partial;
    this.#exists = exists;
    this.#force = force;
    this.#folder = fds.folder;
    this.fd = fds.fd;
    partials.add(names.partial);
    if (partials.size === 1) process.once("exit", removePartials);
  }

  /**
   * Opens the temporary file.
   *
   * @param label The file as the caller named it.
   * @param place Where it is, and whether there is a file to replace.
   */
  static async create(
    label: string,
    { path, exists }: { readonly path: string; readonly exists: boolean },
    { force, mode }: { readonly force: boolean; readonly mode: number },
  ): Promise<AtomicTarget> {
    if (exists && !force) throw errnoError("create", label, "EEXIST", FORCE_HINT);
    const { folder, name } = splitPath(path);
    const partial = `${folder}/${partialName(name)}`;
    // Now, not at the end: a folder that cannot be synced is reported before any work.
    const folderFd = await open(folder, O_RDONLY);
    try {
      const fd = await open(partial, O_WRONLY | O_CREAT | O_EXCL, mode);
      return new AtomicTarget({ label, path, partial }, exists, force, { folder: folderFd, fd });
    } catch (error) {
      throw await cleanedUpAsync(error, () => close(folderFd));
    }
  }

  /** Syncs the file, which keeps its temporary name. */
  sync(): Promise<void> {
    return sync(this.fd);
  }

  /** Opens the file by its temporary name; it must still be the file that was written. */
  async reopen(): Promise<OpenSource> {
    try {
      // If something else has that name by now, it is neither followed nor waited for.
      const fd = await open(this.#partial, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      const [ours, there] = [fs.fstatSync(this.fd), fs.fstatSync(fd)];
      const source = new OpenSource(this.#label, { fd, owned: true }, there.size);
      if (there.dev === ours.dev && there.ino === ours.ino) return source;
      await source.close();
    } catch (error) {
      throw fileError("read back", this.#label, error);
    }
    throw new CheckpointFileError(
      `Cannot read back "${this.#label}": another file stands in the place of "${this.#partial}"`,
      { path: this.#label, code: null },
    );
  }

  /** Syncs the file, gives it its name, syncs the folder. */
  async commit(): Promise<void> {
    await this.sync();
    this.#fdOpen = false;
    await close(this.fd);
    if (this.#force) await this.#replace();
    else await this.#place();
    this.#placed = true;
    forget(this.#partial);
    await sync(this.#folder);
    this.#folderOpen = false;
    await close(this.#folder);
  }

  async #replace(): Promise<void> {
    const now = await fs.promises.lstat(this.#path).catch((error) => {
      if (errnoOf(error) !== "ENOENT") throw error;
      return null;
    });
    if (now !== null && !now.isFile()) throw errnoError("replace", this.#label, "EEXIST");
    await fs.promises.rename(this.#partial, this.#path);
  }

  /** Not by rename(2), which would replace a file that has appeared meanwhile. */
  async #place(): Promise<void> {
    try {
      await fs.promises.link(this.#partial, this.#path);
    } catch (error) {
      const code = errnoOf(error) ?? "";
      if (code === "EEXIST") throw errnoError("create", this.#label, "EEXIST", FORCE_HINT);
      if (!NO_LINKS.includes(code)) throw error;
      await this.#placeWithoutLinks();
      return;
    }
    await fs.promises.unlink(this.#partial);
  }

  /** Creates an empty file of that name, and then replaces it. */
  async #placeWithoutLinks(): Promise<void> {
    await close(await open(this.#path, O_WRONLY | O_CREAT | O_EXCL, 0o600));
    try {
      await fs.promises.rename(this.#partial, this.#path);
    } catch (error) {
      throw await cleanedUpAsync(error, () => fs.promises.unlink(this.#path));
    }
  }

  /** Removes the temporary file. */
  async abort(): Promise<AbortResult> {
    const left = this.#exists ? "and the file that was there is as it was" : "no file was left";
    try {
      if (this.#fdOpen) {
        this.#fdOpen = false;
        await close(this.fd);
      }
      if (this.#placed) {
        return { words: "the file is in its place, but a crash may lose it", left: null };
      }
      forget(this.#partial);
      await fs.promises.unlink(this.#partial);
      return { words: "the temporary file was removed", left };
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return { words: "the temporary file is gone", left };
      const why = whyFailed(error);
      return { words: `the temporary file "${this.#partial}" is left: ${why}`, left: null };
    } finally {
      if (this.#folderOpen) {
        this.#folderOpen = false;
        await close(this.#folder).catch(() => {});
      }
    }
  }
}
