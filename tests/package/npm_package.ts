/**
 * The npm package: JavaScript and declarations by the TypeScript compiler, file by file, with the
 * man page and completions. `deno task pack` writes it to dist/npm and packs it.
 */

import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { manPage } from "../../cli/man.ts";
import deno from "../../deno.json" with { type: "json" };
import root from "../../package.json" with { type: "json" };

const PROJECT = path.join(import.meta.dirname!, "../..");

/** What is compiled; everything else in these folders is copied. */
const SOURCES = ["mod.ts", "src", "cli"];

/** Files of the project that are in the package as they are. */
const COPIED = ["README.md", "LICENSE", "CHANGELOG.md"];

/** The shells that a completion script is in the package for. */
const SHELLS = ["bash", "zsh", "fish"];

/** A reader's compiler finds the types of node:stream and the like by this line. */
const NODE_TYPES = '/// <reference types="node" />\n';

/** A module of the package for what is neither Deno nor Bun. */
const REFUSAL = `throw new Error(
  "vfiokit needs Deno or Bun: it calls libc by their FFI, and Node's is experimental",
);
`;

/** Builds the package in a folder, which is made anew. */
export function buildPackage(folder: string): void {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(path.join(folder, "man"), { recursive: true });
  compile(folder);
  for (const source of SOURCES) finish(source, folder);
  for (const file of COPIED) fs.copyFileSync(path.join(PROJECT, file), path.join(folder, file));
  write(folder, "other_runtimes.js", REFUSAL);
  // The command line reads its version there.
  write(folder, "deno.json", JSON.stringify({ version: deno.version }));
  write(folder, "package.json", JSON.stringify(manifest(), null, 2) + "\n");
  write(folder, "man/vfiokit.1", manPage());
  fs.mkdirSync(path.join(folder, "completions"));
  for (const shell of SHELLS) {
    const { stdout } = succeed([path.join(PROJECT, "cli/main.ts"), "completion", shell]);
    write(folder, `completions/vfiokit.${shell}`, stdout);
  }
}

function compile(folder: string): void {
  const options = {
    target: "esnext",
    lib: ["esnext", "dom", "dom.iterable", "dom.asynciterable"],
    module: "nodenext",
    rewriteRelativeImportExtensions: true,
    resolveJsonModule: true,
    strict: true,
    declaration: true,
    // deno check has the runtimes' types, and this compiler has not.
    noCheck: true,
    types: [],
    rootDir: PROJECT,
    outDir: folder,
  };
  const include = SOURCES.map((source) => path.join(PROJECT, source));
  const config = path.join(folder, "tsconfig.json");
  fs.writeFileSync(config, JSON.stringify({ compilerOptions: options, include }));
  succeed([path.join(PROJECT, "node_modules/typescript/bin/tsc"), "-p", config]);
  fs.rmSync(config);
}

/** Copies what is no TypeScript; names the compiled files of Workers, and the types of Node's. */
function finish(name: string, folder: string): void {
  const from = path.join(PROJECT, name);
  if (fs.statSync(from).isDirectory()) {
    for (const entry of fs.readdirSync(from)) finish(path.join(name, entry), folder);
    return;
  }
  if (!name.endsWith(".ts")) return fs.copyFileSync(from, path.join(folder, name));
  const declarations = path.join(folder, name.replace(/\.ts$/, ".d.ts"));
  const declared = fs.readFileSync(declarations, "utf8");
  if (declared.includes('from "node:')) fs.writeFileSync(declarations, NODE_TYPES + declared);
  const compiled = path.join(folder, name.replace(/\.ts$/, ".js"));
  const code = fs.readFileSync(compiled, "utf8");
  const finished = code.replaceAll(
    /(new URL\("\.[^"]+)\.ts(", import\.meta\.url\))/g,
    "$1.js$2",
  );
  if (finished !== code) fs.writeFileSync(compiled, finished);
}

/** The package.json of the package; the entry points are those of deno.json. */
function manifest(): Record<string, unknown> {
  const { name, version, description, license, type, dependencies, engines } = root;
  const entries = Object.entries(deno.exports).map(([entry, file]) => {
    const compiled = file.replace(/\.ts$/, ".js");
    const types = file.replace(/\.ts$/, ".d.ts");
    return [entry, { types, deno: compiled, bun: compiled, default: "./other_runtimes.js" }];
  });
  return {
    ...{ name, version, description, license, type, dependencies, engines },
    exports: { ...Object.fromEntries(entries), "./package.json": "./package.json" },
    bin: { vfiokit: "cli/npx.mjs" },
    man: ["man/vfiokit.1"],
  };
}

function write(folder: string, name: string, text: string): void {
  fs.writeFileSync(path.join(folder, name), text);
}

/** Runs a script by this runtime, to its end. */
function succeed(words: readonly string[]): { readonly stdout: string } {
  const before = "Deno" in globalThis ? ["run", "--allow-all", "--quiet"] : ["run"];
  const { status, stdout, stderr } = spawnSync(process.execPath, [...before, ...words], {
    cwd: PROJECT,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${words.join(" ")} ended with ${status}: ${stdout}${stderr}`);
  return { stdout };
}

if (import.meta.main) {
  const folder = path.join(PROJECT, "dist/npm");
  buildPackage(folder);
  const packed = spawnSync("npm", ["pack", "--pack-destination", ".."], {
    cwd: folder,
    stdio: ["ignore", "inherit", "inherit"],
  });
  process.exitCode = packed.status ?? 1;
}
