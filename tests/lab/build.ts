/**
 * What the guest runs of our own C: the vendor driver and the client.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cached, MissingError, run, which } from "./host.ts";

function sourcesHash(folder: string, ...more: string[]): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(folder).sort()) {
    hash.update(name).update("\0").update(readFileSync(join(folder, name))).update("\0");
  }
  for (const text of more) hash.update(text).update("\0");
  return hash.digest("hex").slice(0, 16);
}

function need(program: string): void {
  if (which(program) === null) {
    throw new MissingError(
      `Cannot build for the guest: no "${program}" on this machine (packages gcc, make, libc6-dev)`,
    );
  }
}

/** The guest driver for a kernel; returns the module's path. */
export function buildDriver(cache: string, sources: string, headers: string): string {
  const folder = join(cache, `driver-${sourcesHash(sources, headers)}`);
  cached(folder, (to) => {
    need("make");
    need("gcc");
    cpSync(sources, to, { recursive: true });
    // The headers ask for the very compiler of the kernel; any gcc near it serves.
    const compiler = which("gcc-12") ?? "gcc";
    run("make", ["-C", headers, `M=${to}`, `CC=${compiler}`, "W=1", "modules"]);
    run("strip", ["--strip-debug", join(to, "vfiokit_v1.ko")]);
  });
  return join(folder, "vfiokit_v1.ko");
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
