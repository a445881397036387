/**
 * The guest's first and only root file system: busybox, the libraries of the
 * runtimes, the modules, and the script that starts it all.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { cpio, type CpioEntry } from "./cpio.ts";

/** What the guest needs before it sees the host's folders. */
export interface InitramfsParts {
  /** The static busybox. */
  readonly busybox: string;
  /** The first program. */
  readonly init: string;
  /** Kernel modules, in the order to load them. */
  readonly modules: readonly string[];
  /** Libraries, at their own absolute paths. */
  readonly libraries: readonly string[];
  /** Files and folders to take as they are now: where to, and where from. */
  readonly trees: readonly (readonly [to: string, from: string])[];
}

function folders(paths: readonly string[]): CpioEntry[] {
  const all = new Set<string>();
  for (const path of paths) {
    for (let folder = dirname(path); folder !== "."; folder = dirname(folder)) all.add(folder);
  }
  return [...all].sort().map((path) => ({ path, kind: "folder" }));
}

/** A file, or a folder with all that is in it. */
function tree(to: string, from: string): CpioEntry[] {
  const entry = (path: string, source: string): CpioEntry => ({
    path,
    kind: "file",
    data: readFileSync(source),
  });
  if (statSync(from).isFile()) return [entry(to, from)];
  const entries: CpioEntry[] = [{ path: to, kind: "folder" }];
  for (const found of readdirSync(from, { withFileTypes: true })) {
    const [path, source] = [join(to, found.name), join(from, found.name)];
    if (found.isDirectory()) entries.push(...tree(path, source));
    if (found.isFile()) entries.push(entry(path, source));
    if (found.isSymbolicLink()) {
      entries.push({ path, kind: "link", target: readlinkSync(source) });
    }
  }
  return entries;
}

/** Writes the archive. */
export function writeInitramfs(to: string, parts: InitramfsParts): void {
  const file = (path: string, from: string, mode: number): CpioEntry => ({
    path,
    kind: "file",
    data: readFileSync(from),
    mode,
  });
  const modules = parts.modules.map((path) => basename(path));
  const files: CpioEntry[] = [
    file("init", parts.init, 0o755),
    file("bin/busybox", parts.busybox, 0o755),
    ...parts.libraries.map((path) => file(path.slice(1), path, 0o755)),
    ...parts.modules.map((path) => file(`modules/${basename(path)}`, path, 0o644)),
    { path: "modules/order", kind: "file", data: new TextEncoder().encode(modules.join("\n")) },
  ];
  const trees = parts.trees.flatMap(([to, from]) => tree(to.replace(/^\//, ""), from));
  const mounts = ["dev", "proc", "sys", "tmp", "run", "etc", "root"];
  const entries = [
    ...mounts.map((path): CpioEntry => ({ path, kind: "folder" })),
    ...folders([...files, ...trees].map((entry) => entry.path)),
    ...files,
    ...trees,
  ];
  writeFileSync(to, Buffer.concat(cpio(entries)));
}
