/**
 * What the lab needs of the machine it runs on: programs, and a cache folder.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { homedir } from "node:os";
import { basename, delimiter, dirname, join } from "node:path";

/** This machine lacks something that the lab needs: exit code 3. */
export class MissingError extends Error {
  /** Always `MissingError`. */
  override readonly name = "MissingError";
}

/** How {@linkcode run} runs a program. */
export interface RunOptions {
  /** The folder to run it in. */
  readonly cwd?: string;
  /** Variables on top of this process's own. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program to its end and returns what it printed; throws with its last words. */
export function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Uint8Array {
  const result = spawnSync(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    maxBuffer: 1 << 30,
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (result.error) throw result.error;
  if (result.status !== 0) {
    const words = `${result.stdout}\n${result.stderr}`.trim().split("\n").slice(-20).join("\n");
    throw new Error(`Cannot run "${command} ${args.join(" ")}": exit ${result.status}\n${words}`);
  }
  return result.stdout;
}

/** {@linkcode run}, as text without the last newline. */
export function runText(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): string {
  return new TextDecoder().decode(run(command, args, options)).trimEnd();
}

/** The path of a program in PATH; null where there is none. */
export function which(command: string): string | null {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    if (folder === "") continue;
    const path = join(folder, command);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      continue;
    }
  }
  return null;
}

/** Throws where a program that building needs is not there. */
export function need(program: string): void {
  if (which(program) === null) {
    throw new MissingError(
      `Cannot build for the guest: no "${program}" on this machine (packages gcc, make, libc6-dev, bc)`,
    );
  }
}

/** Where the lab keeps what it fetched and built. */
export function cacheFolder(): string {
  const base = process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
  return join(base, "vfiokit-lab");
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** Removes what a lab left unfinished that was killed: its folders have its process's number. */
function removeLeftovers(path: string): void {
  for (const name of readdirSync(dirname(path))) {
    const id = name.startsWith(`${basename(path)}.`) ? name.slice(basename(path).length + 1) : "";
    if (/^\d+$/.test(id) && !existsSync(`/proc/${id}`)) {
      rmSync(join(dirname(path), name), { recursive: true, force: true });
    }
  }
}

/**
 * A folder of the cache, made by `make` where it is not there yet. It appears
 * whole or not at all; of two labs that make it, one is later and takes the other's.
 */
export function cached(path: string, make: (folder: string) => void): string {
  if (isFolder(path)) return path;
  mkdirSync(dirname(path), { recursive: true });
  removeLeftovers(path);
  const folder = `${path}.${process.pid}`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  try {
    make(folder);
    if (!isFolder(path)) renameSync(folder, path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return path;
}
