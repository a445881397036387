/**
 * A kernel built from Debian's source package, for what the stock kernels are
 * built without.
 *
 * @module
 */

import { cpSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Apt } from "./apt.ts";
import { need, run } from "./host.ts";
import { filesBelow, takeModules } from "./stock_kernel.ts";

/** The source's package, and the name of the folder in it. */
export const SOURCE = "linux-source-6.12";

/** The choice of options, on top of `allnoconfig`. */
export const CONFIG = new URL("iommufd.config", import.meta.url).pathname;

/** Programs and libraries that building needs beside a compiler: not installed, either. */
const TOOLS: readonly string[] = ["flex", "bison", "m4", "libelf-dev", "zlib1g-dev"];

/** Where packages come from. */
export interface SourceApts {
  /** The source's. */
  readonly source: Apt;
  /** The programs' that run here. */
  readonly tools: Apt;
}

/** Extracts the source into `to`, all of it or one file; returns its folder. */
export function extractSource(apt: Apt, to: string, file = ""): string {
  apt.extract([SOURCE], to);
  const archive = join(to, "usr/src", `${SOURCE}.tar.xz`);
  run("tar", ["-xJf", archive, "-C", to, join(SOURCE, file)]);
  rmSync(archive);
  return join(to, SOURCE);
}

function checkConfig(tree: string): void {
  const lines = readFileSync(join(tree, ".config"), "utf8").split("\n");
  const lost = readFileSync(CONFIG, "utf8").split("\n")
    .filter((line) => line.startsWith("CONFIG_") && !lines.includes(line));
  if (lost.length > 0) throw new Error(`Cannot configure the kernel: no ${lost.join(", ")}`);
}

/** Configures and builds the kernel and its few modules in `tree`. */
function build(tree: string, tools: string): void {
  for (const program of ["make", "gcc", "bc", "tar"]) need(program);
  const libraries = join(tools, "usr/lib/x86_64-linux-gnu");
  const env = {
    PATH: `${join(tools, "usr/bin")}:${process.env["PATH"]}`,
    BISON_PKGDATADIR: join(tools, "usr/share/bison"),
    M4: join(tools, "usr/bin/m4"),
    KCONFIG_ALLCONFIG: CONFIG,
  };
  const make = (...words: string[]): void =>
    void run("make", [
      ...["-s", `-j${availableParallelism()}`],
      `LIBELF_FLAGS=-I${join(tools, "usr/include")}`,
      `LIBELF_LIBS=${join(libraries, "libelf.a")} ${join(libraries, "libz.a")}`,
      ...words,
    ], { cwd: tree, env });
  make("allnoconfig");
  checkConfig(tree);
  make("vmlinux", "modules");
}

/** Takes out of a built tree what the lab keeps, laid out as Debian's packages are. */
function take(tree: string, wanted: readonly string[], folder: string): void {
  cpSync(join(tree, "vmlinux"), join(folder, "vmlinux"));
  takeModules(
    [
      join(tree, "modules.builtin"),
      ...filesBelow(join(tree, "drivers")),
    ],
    wanted,
    join(folder, "modules"),
  );
  const headers = join(folder, "headers/usr/src", `linux-headers-${SOURCE}-amd64`);
  mkdirSync(headers, { recursive: true });
  run("sh", ["scripts/package/install-extmod-build", headers], {
    cwd: tree,
    env: { srctree: tree, SRCARCH: "x86", KCONFIG_CONFIG: ".config", CC: "gcc", HOSTCC: "gcc" },
  });
}

/** Builds the kernel and the wanted modules into `folder`: some eight minutes on two processors. */
export function buildSourceKernel(
  { source, tools }: SourceApts,
  wanted: readonly string[],
  folder: string,
): void {
  const work = join(folder, "work");
  tools.extract(TOOLS, join(work, "tools"));
  const tree = extractSource(source, work);
  build(tree, join(work, "tools"));
  take(tree, wanted, folder);
  tools.extract(["busybox-static"], join(work, "busybox"));
  cpSync(join(work, "busybox/bin/busybox"), join(folder, "busybox"));
  rmSync(work, { recursive: true });
}
