/**
 * Debian's stock kernels, as packages that are extracted and never installed.
 *
 * @module
 */

import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Apt } from "./apt.ts";
import { fetchHeaders } from "./headers.ts";
import { loadOrder, moduleDepends, moduleName } from "./modules.ts";
import { unpack } from "./packed.ts";
import { bzImagePayload } from "./vmlinux.ts";

/** All files in a folder and below. */
export function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function find(files: readonly string[], name: RegExp): string {
  const file = files.find((path) => name.test(path));
  if (file === undefined) throw new Error(`Cannot find ${name} in the kernel's packages`);
  return file;
}

/** Takes modules and what they need, in the order to load them. */
export function takeModules(files: readonly string[], wanted: readonly string[], to: string): void {
  const found = new Map<string, string>();
  for (const file of files) {
    if (/\.ko(\.\w+)?$/.test(file)) found.set(moduleName(file), file);
  }
  const list = find(files, /\/modules\.builtin$/);
  const builtIn = readFileSync(list, "utf8").split("\n").map(moduleName);
  const taken = new Map<string, Uint8Array>();
  const depends = (name: string): string[] => {
    const file = found.get(name);
    if (file === undefined) throw new Error(`Cannot find the kernel module "${name}"`);
    const module = unpack(readFileSync(file));
    taken.set(name, module);
    return moduleDepends(module);
  };
  const order = loadOrder(wanted.filter((name) => !builtIn.includes(moduleName(name))), depends);
  mkdirSync(to);
  for (const [name, module] of taken) writeFileSync(join(to, `${name}.ko`), module);
  writeFileSync(join(to, "order"), order.join("\n"));
}

/** Fetches a kernel with the wanted modules into `folder`, which will be called `final`. */
export function fetchStockKernel(
  apt: Apt,
  wanted: readonly string[],
  folder: string,
  final: string,
): void {
  const packages = mkdtempSync(join(tmpdir(), "vfiokit-lab-"));
  try {
    const image = apt.resolve("linux-image-amd64", "linux-image-");
    // Newer releases have the image and its modules in packages of their own.
    const parts = apt.depends(image).filter((name) => /^linux-(base|binary|modules)-\d/.test(name));
    apt.extract([image, ...parts, "busybox-static"], packages);
    // Where things are differs between releases; what they are called does not.
    const files = filesBelow(packages);
    const kernel = find(files, /\/vmlinuz[^/]*$/);
    writeFileSync(join(folder, "vmlinux"), unpack(bzImagePayload(readFileSync(kernel))));
    takeModules(files, wanted, join(folder, "modules"));
    cpSync(find(files, /\/bin\/busybox$/), join(folder, "busybox"));
  } finally {
    rmSync(packages, { recursive: true, force: true });
  }
  fetchHeaders(apt, join(folder, "headers"), join(final, "headers"));
}
