/**
 * Finds what a path names: a regular file, an open fd, or something else.
 */

import { cleanedUpAsync, cleanlyThen } from "../../base/cleanup.ts";
import * as fs from "node:fs";
import { basename, dirname, normalize } from "node:path";
import process from "node:process";
import { adoptFd } from "../../kernel/process/adopt_fd.ts";
import { isErrno } from "../../kernel/sys_error.ts";
import { type O_RDONLY, O_WRONLY } from "../../kernel/kernel.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { close, open } from "./_fd_io.ts";
import { errnoOf } from "../../kernel/errno_names.ts";
import { errnoError } from "./file_error.ts";

/** More consecutive symbolic links than this are a loop, as in the kernel. */
const MAX_LINKS = 40;

/** What a path names. */
export type PathTarget =
  /** An fd that another program opened. */
  | { readonly kind: "fd"; readonly fd: number }
  /** A regular file, or nothing yet; links are followed. */
  | { readonly kind: "file"; readonly path: string; readonly exists: boolean }
  /** A device, a fifo, …; or a path under /dev or /proc that Deno may not look at. */
  | { readonly kind: "other"; readonly path: string };

const STANDARD: ReadonlyMap<string, number> = new Map([
  ["/dev/stdin", 0],
  ["/dev/stdout", 1],
  ["/dev/stderr", 2],
]);

/** The fd that a path such as `/dev/fd/3` names; null for any other path. */
function namedFd(path: string): number | null {
  if (!path.startsWith("/")) return null;
  const normal = normalize(path);
  const standard = STANDARD.get(normal);
  if (standard !== undefined) return standard;
  const match = /^\/(?:dev|proc\/(?:self|thread-self|(\d+)))\/fd\/(\d+)$/.exec(normal);
  if (match === null || match[1] !== undefined && Number(match[1]) !== process.pid) return null;
  return Number(match[2]);
}

/** Whether Deno refused, by its own rules. */
function refused(error: unknown): boolean {
  return error instanceof Error && error.name === "NotCapable";
}

function isKernels(path: string): boolean {
  return /^\/(?:dev|proc|sys)\//.test(normalize(path));
}

/**
 * Finds what a path names; `-` is the fd `standard`.
 *
 * @throws {Error} With an errno's name as code; EISDIR for a folder.
 */
export async function findPathTarget(path: string, standard: number): Promise<PathTarget> {
  if (path === "-") return { kind: "fd", fd: standard };
  if (path === "") throw errnoError("open", path, "ENOENT");
  let current = path;
  for (let links = 0; links < MAX_LINKS; links++) {
    const fd = namedFd(current);
    if (fd !== null) return { kind: "fd", fd };
    if (/\/\.{0,2}$|^\.{1,2}$/.test(current)) throw errnoError("open", path, "EISDIR");
    let stats: fs.Stats;
    try {
      stats = await fs.promises.lstat(current);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return { kind: "file", path: current, exists: false };
      if (refused(error) && isKernels(current)) return { kind: "other", path: current };
      throw error;
    }
    if (stats.isFile()) return { kind: "file", path: current, exists: true };
    if (stats.isDirectory()) throw errnoError("open", path, "EISDIR");
    if (!stats.isSymbolicLink()) return { kind: "other", path: current };
    const target = await fs.promises.readlink(current);
    // Not joined: "a/.." is not always where a is.
    current = target.startsWith("/") ? target : `${dirname(current)}/${target}`;
  }
  throw errnoError("open", path, "ELOOP");
}

/** An fd for node:fs, and whether this process opened it. */
export interface OpenedTarget {
  readonly fd: number;
  readonly owned: boolean;
}

/** Opens anything but a regular file, or borrows an open fd. */
export async function openPathTarget(
  place: Exclude<PathTarget, { kind: "file" }>,
  access: typeof O_RDONLY | typeof O_WRONLY,
): Promise<OpenedTarget> {
  if (place.kind === "fd") {
    // Deno's node:fs knows the standard three, and no other fd that it did not open.
    return place.fd <= 2 ? { fd: place.fd, owned: false } : { fd: adoptFd(place.fd), owned: true };
  }
  try {
    return { fd: await open(place.path, access), owned: true };
  } catch (error) {
    if (!refused(error)) throw error;
    return { fd: await openByLibc(place.path, access, error), owned: true };
  }
}

/** Opens a device that Deno keeps to itself; a regular file stays refused. */
async function openByLibc(path: string, access: number, refusal: unknown): Promise<number> {
  const kernel = libcKernel();
  let raw: number;
  try {
    raw = kernel.open(path, access);
  } catch (error) {
    // A file that would have to be created, as in /dev/shm: Deno must allow that.
    throw access === O_WRONLY && isErrno(error, "ENOENT") ? refusal : error;
  }
  const fd = cleanlyThen(() => adoptFd(raw), () => kernel.close(raw));
  if (!fs.fstatSync(fd).isFile()) return fd;
  throw await cleanedUpAsync(refusal, () => close(fd));
}

/** The folder and the last name of a path. */
export function splitPath(path: string): { readonly folder: string; readonly name: string } {
  return { folder: dirname(path), name: basename(path) };
}
