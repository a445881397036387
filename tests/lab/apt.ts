/**
 * Debian packages, fetched with a private apt configuration and extracted into
 * the cache: nothing is installed, and the machine's own lists stay untouched.
 *
 * @module
 */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type AptSource,
  debianMirror,
  formatSource,
  parseDeb822Sources,
  parseSourcesList,
} from "./apt_sources.ts";
import { MissingError, run, runText, which } from "./host.ts";

const ETC = "/etc/apt";

/** The Debian release of the programs that run on this machine, whatever kernel is booted. */
export const HOST_SUITE = "bookworm";

/** As if this machine, which may be of another release, had no packages at all. */
const NOTHING_INSTALLED = "Dir::State::status=/dev/null";

function readSources(): AptSource[] {
  const files = [join(ETC, "sources.list")];
  try {
    for (const name of readdirSync(join(ETC, "sources.list.d")).sort()) {
      files.push(join(ETC, "sources.list.d", name));
    }
  } catch {
    // There need not be such a folder.
  }
  const sources: AptSource[] = [];
  for (const file of files) {
    let text: string;
    try {
      text = readFileSync(file, "utf8");
    } catch {
      continue;
    }
    if (file.endsWith(".list")) sources.push(...parseSourcesList(text));
    if (file.endsWith(".sources")) sources.push(...parseDeb822Sources(text));
  }
  return sources;
}

/** One suite of the machine's own Debian mirror. */
export class Apt {
  readonly #folder: string;
  readonly #env: Record<string, string>;

  /** Sets up the private configuration in `folder` and fetches the suite's list. */
  constructor(folder: string, suite: string) {
    for (const program of ["apt-get", "apt-cache", "dpkg"]) {
      if (which(program) === null) {
        throw new MissingError(`Cannot fetch Debian packages: no "${program}" on this machine`);
      }
    }
    const mirror = debianMirror(readSources());
    if (mirror === null) {
      throw new MissingError(
        `Cannot fetch Debian packages: ${ETC} names no Debian mirror (a "deb" source with "main")`,
      );
    }
    this.#folder = folder;
    mkdirSync(join(folder, "lists", "partial"), { recursive: true });
    writeFileSync(join(folder, "sources.list"), formatSource(mirror, suite));
    const settings: [string, string][] = [
      ["Dir::Etc::SourceList", join(folder, "sources.list")],
      ["Dir::Etc::SourceParts", "-"],
      ["Dir::State::Lists", join(folder, "lists")],
      ["Dir::Cache", folder],
      ["Acquire::Languages", "none"],
      ["APT::Sandbox::User", "root"],
      ["APT::Update::Post-Invoke-Success", ""],
      ["Debug::NoLocking", "true"],
    ];
    writeFileSync(
      join(folder, "apt.conf"),
      settings.map(([name, value]) => `${name} "${value}";\n`).join(""),
    );
    this.#env = { APT_CONFIG: join(folder, "apt.conf"), LC_ALL: "C" };
    run("apt-get", ["update"], { env: this.#env });
  }

  /** What a package depends on, without alternatives. */
  depends(packageName: string): string[] {
    const text = runText("apt-cache", ["depends", packageName], { env: this.#env });
    return text.split("\n").flatMap((line) => /^\s*Depends: (\S+)$/.exec(line)?.[1] ?? []);
  }

  /** The package that a metapackage stands for: the dependency with this prefix. */
  resolve(metapackage: string, prefix: string): string {
    const name = this.depends(metapackage).find((dependency) => dependency.startsWith(prefix));
    if (name === undefined) {
      throw new Error(`Cannot resolve "${metapackage}": no dependency starts with "${prefix}"`);
    }
    return name;
  }

  /** Fetches packages and extracts them, one over the other, into `to`. */
  extract(packages: readonly string[], to: string): void {
    this.#extractBy(["-o", NOTHING_INSTALLED, "download", ...packages], to);
  }

  /**
   * Fetches a package and what it depends on, and extracts them: all of that, or
   * what is not installed here.
   */
  extractWithDependencies(packageName: string, to: string, which: "all" | "missing"): void {
    const args = ["install", "--download-only", "--yes", "--no-install-recommends", packageName];
    this.#extractBy(which === "all" ? ["-o", NOTHING_INSTALLED, ...args] : args, to);
  }

  #extractBy(args: string[], to: string): void {
    const archives = mkdtempSync(join(this.#folder, "archives-"));
    mkdirSync(join(archives, "partial"));
    const option = `Dir::Cache::Archives=${archives}`;
    run("apt-get", ["-o", option, ...args], { env: this.#env, cwd: archives });
    mkdirSync(to, { recursive: true });
    for (const name of readdirSync(archives)) {
      if (name.endsWith(".deb")) run("dpkg", ["-x", join(archives, name), to]);
    }
    rmSync(archives, { recursive: true });
  }
}
