/**
 * mtty, the kernel's own sample of a device that migrates: a serial port by
 * NVIDIA, with version 2 of the protocol. Its source comes from Debian's package
 * at run time and is no part of this project.
 *
 * @module
 */

import { cpSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Apt } from "./apt.ts";
import { buildModule, sourcesHash } from "./build.ts";
import { cached } from "./host.ts";
import { extractSource, SOURCE } from "./source_kernel.ts";

const FILE = "samples/vfio-mdev/mtty.c";

function fetchSource(cache: string, apt: () => Apt): string {
  return cached(join(cache, `mtty-${SOURCE}`), (to) => {
    const work = join(to, "work");
    cpSync(join(extractSource(apt(), work, FILE), FILE), join(to, "mtty.c"));
    rmSync(work, { recursive: true });
    writeFileSync(join(to, "Makefile"), "obj-m := mtty.o\n");
  });
}

/** Builds the sample device for a kernel; returns the module's path. */
export function buildSampleDevice(cache: string, headers: string, apt: () => Apt): string {
  const sources = fetchSource(cache, apt);
  const folder = join(cache, `mtty-${sourcesHash(sources, headers)}`);
  cached(folder, (to) => {
    cpSync(sources, to, { recursive: true });
    buildModule(to, headers, "mtty.ko");
  });
  return join(folder, "mtty.ko");
}
