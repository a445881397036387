/**
 * The headers of a stock kernel, made fit to build modules on this machine
 * without being installed.
 *
 * @module
 */

import {
  chmodSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Apt } from "./apt.ts";

/** The folder that `make -C` takes, in what was extracted of the packages. */
export function headersFolder(root: string): string {
  const src = join(root, "usr/src");
  const name = readdirSync(src).find((file) => /^linux-headers-.*-amd64$/.test(file));
  if (name === undefined) throw new Error("Cannot find the kernel headers in their package");
  return join(src, name);
}

/** The Makefile, which names folders where the packages would be installed. */
export function mendMakefile(text: string, root: string): string {
  return text.replace(/(?<=[ =])\/usr\//g, `${root}/usr/`);
}

/** Debian's programs for several architectures start one that they find by its name. */
const VARIANTS: readonly string[] = [".real-lsb-64", ".real-x86"];

/** Which of kbuild's programs stands behind the one with this name. */
export function realProgram(program: string, programs: readonly string[]): string {
  return VARIANTS.map((end) => program + end).find((path) => programs.includes(path)) ?? program;
}

function isElf(file: string): boolean {
  const fd = openSync(file, "r");
  try {
    const head = new Uint8Array(4);
    return readSync(fd, head, 0, 4, 0) === 4 && new TextDecoder().decode(head) === "\x7fELF";
  } finally {
    closeSync(fd);
  }
}

/** The programs may need a newer C library than this machine's: they get their own release's. */
function wrapPrograms(root: string, final: string): void {
  const programs = readdirSync(join(root, "usr/lib"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name.startsWith("linux-kbuild-"))
    .flatMap(({ parentPath, name }) =>
      readdirSync(join(parentPath, name), { recursive: true, withFileTypes: true })
    )
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .filter(isElf);
  const libraries = ["lib", "usr/lib"].map((path) => join(path, "x86_64-linux-gnu"));
  const loader = libraries.map((path) => join(path, "ld-linux-x86-64.so.2"))
    .find((path) => existsSync(join(root, path)));
  if (loader === undefined) throw new Error("Cannot find the loader of kbuild's programs");
  const searched = libraries.map((path) => join(final, path)).join(":");
  for (const program of programs) renameSync(program, `${program}.elf`);
  for (const program of programs) {
    const real = `${realProgram(program, programs).replace(root, final)}.elf`;
    const words = [join(final, loader), "--library-path", searched, real];
    writeFileSync(program, `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`, { mode: 0o755 });
  }
}

/** Fetches the headers into `root`, which will be called `final`. */
export function fetchHeaders(apt: Apt, root: string, final: string): void {
  const amd64 = apt.resolve("linux-headers-amd64", "linux-headers-");
  const common = apt.resolve(amd64, "linux-headers-");
  apt.extract([amd64, common], root);
  apt.extractWithDependencies(apt.resolve(amd64, "linux-kbuild-"), root, "all");
  wrapPrograms(root, final);
  const folder = headersFolder(root);
  // A vmlinux would have type information made of each module, by one more program.
  rmSync(join(folder, "vmlinux"), { force: true });
  const makefile = join(folder, "Makefile");
  chmodSync(makefile, 0o644);
  writeFileSync(makefile, mendMakefile(readFileSync(makefile, "utf8"), final));
}
