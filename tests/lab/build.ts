/**
 * What the guest runs of our own C: the vendor driver and the client.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cached, need, run, which } from "./host.ts";

/** A name for what is in a folder, and for more that it depends on. */
export function sourcesHash(folder: string, ...more: string[]): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(folder).sort()) {
    hash.update(name).update("\0").update(readFileSync(join(folder, name))).update("\0");
  }
  for (const text of more) hash.update(text).update("\0");
  return hash.digest("hex").slice(0, 16);
}

/** Options that newer kernels have set for newer compilers, and that gcc 12 does not know. */
const NEWER_OPTIONS = "-fmin-function-alignment=*";

/** The compiler of kernel modules: any gcc near the kernel's own serves, without some options. */
function moduleCompiler(folder: string): string {
  const path = join(folder, "cc");
  const compiler = which("gcc-12") ?? "gcc";
  const drop = `case $word in ${NEWER_OPTIONS}) ;; *) set -- "$@" "$word" ;; esac`;
  const script = `#!/bin/sh\nfor word; do shift; ${drop}; done\nexec ${compiler} "$@"\n`;
  writeFileSync(path, script, { mode: 0o755 });
  return path;
}

/** Builds the module whose sources and Makefile are in `folder`. */
export function buildModule(folder: string, headers: string, name: string): void {
  need("make");
  need("gcc");
  run("make", ["-C", headers, `M=${folder}`, `CC=${moduleCompiler(folder)}`, "W=1", "modules"]);
  run("strip", ["--strip-debug", join(folder, name)]);
}

/** The guest driver for a kernel; returns the module's path. */
export function buildDriver(cache: string, sources: string, headers: string): string {
  const folder = join(cache, `driver-${sourcesHash(sources, headers)}`);
  cached(folder, (to) => {
    cpSync(sources, to, { recursive: true });
    buildModule(to, headers, "vfiokit.ko");
  });
  return join(folder, "vfiokit.ko");
}

const PROGRAMS: readonly string[] = ["v1client", "window"];

/** The guest's C programs, static files in the folder that is returned. */
export function buildClient(cache: string, sources: string): string {
  const folder = join(cache, `client-${sourcesHash(sources)}`);
  return cached(folder, (to) => {
    need("gcc");
    const flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static"];
    const shared = ["device.c", "crc32.c"].map((name) => join(sources, name));
    for (const program of PROGRAMS) {
      run("gcc", [...flags, "-o", join(to, program), join(sources, `${program}.c`), ...shared]);
    }
  });
}
