import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { buildPackage } from "./npm_package.ts";
import { IN_DENO, projectFile } from "../cli/_cli.ts";
import { megabytes } from "./_readme_sizes.ts";
import { Folder } from "../cli/_folder.ts";
import { Registry } from "./_registry.ts";

/** Where a program is on the PATH; null if it is not. */
function found(program: string): string | null {
  const { status, stdout } = spawnSync("sh", ["-c", `command -v ${program}`], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : null;
}

/** The runtime under test, and where it is found by its name. */
const RUNTIME = IN_DENO ? "deno" : "bun";

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

let folder: Folder;
let registry: Registry;

before(async () => {
  folder = new Folder();
  buildPackage(folder.file("package"));
  registry = await Registry.start(folder.file("package"));
  fs.mkdirSync(folder.file("bin"));
  fs.symlinkSync(process.execPath, folder.file(`bin/${RUNTIME}`));
});

after(async () => {
  await registry[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** An empty home, and a folder to work in. */
function home(name: string): string {
  const place = folder.file(name);
  fs.mkdirSync(place);
  return place;
}

/** Runs a line of a shell in a home that knows nothing but the registry and the runtime. */
function run(line: string, at: string): Promise<Ended> {
  const env = {
    HOME: at,
    // node and npm where they are, the runtime under test, and what was installed.
    PATH: [path.join(at, "bin"), path.join(at, ".deno/bin"), folder.file("bin"), ...systemPath()]
      .join(":"),
    npm_config_registry: registry.url,
    NPM_CONFIG_REGISTRY: registry.url,
    BUN_CONFIG_REGISTRY: registry.url,
    npm_config_prefix: at,
    npm_config_update_notifier: "false",
    npm_config_audit: "false",
    npm_config_fund: "false",
    DENO_DIR: path.join(at, "deno-cache"),
    DENO_NO_UPDATE_CHECK: "1",
    BUN_INSTALL: path.join(at, ".bun"),
    NO_COLOR: "1",
  };
  return new Promise((resolve, reject) => {
    const child = spawn("sh", ["-c", line], { cwd: at, env, stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    let err = "";
    child.stdout.on("data", (text) => out += text);
    child.stderr.on("data", (text) => err += text);
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, out, err }));
  });
}

/** The system's programs, and Node's; none of Deno's and Bun's. */
function systemPath(): string[] {
  const node = found("node");
  return [...(node === null ? [] : [path.dirname(fs.realpathSync(node))]), "/usr/bin", "/bin"];
}

const { version } = JSON.parse(fs.readFileSync(projectFile("package.json"), "utf8"));

/** The line of the README's "Install" that begins so. */
function install(program: string): string {
  const readme = fs.readFileSync(projectFile("README.md"), "utf8");
  const [section] = /^## Install\n[^]*?^## /m.exec(readme)!;
  const line = [...section.matchAll(/`([^`]+)`/g)].find(([, line]) => line!.startsWith(program));
  assert.ok(line, program);
  return line[1]!;
}

/** The bytes of all files in a folder. */
function bytesIn(folder: string): number {
  return fs.readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => fs.lstatSync(path.join(folder, name)))
    .reduce((sum, stat) => stat.isFile() ? sum + stat.size : sum, 0);
}

/** Runs a line that prints the version at its end. */
async function printsVersion(line: string, at: string): Promise<void> {
  const { code, out, err } = await run(line, at);
  assert.equal(code, 0, `${out}${err}`);
  assert.equal(out.trimEnd().split("\n").at(-1), version);
}

const skip = {
  npm: found("npm") === null && "npm is not on the PATH",
  deno: !IN_DENO && "this is Deno's way",
  bun: IN_DENO && "this is Bun's way",
};

describe("the package from a registry, in an empty home", () => {
  it("runs by npx", { skip: skip.npm }, async () => {
    await printsVersion(`${install("npx")} --version`, home("npx"));
  });

  it("is installed by npm i -g, with its man page", { skip: skip.npm }, async () => {
    const at = home("npm");
    await printsVersion(`${install("npm")} >&2 && vfiokit --version`, at);
    const page = fs.readFileSync(path.join(at, "share/man/man1/vfiokit.1"), "utf8");
    assert.equal(page, fs.readFileSync(projectFile("docs/vfiokit.1"), "utf8"));
    const saved = await run(
      "vfiokit save 'sim:mlx5?size=1MiB' -o a.vfk && vfiokit verify a.vfk",
      at,
    );
    assert.equal(saved.code, 0, saved.err);
    assert.match(saved.out, /a\.vfk: sound, 1\.0 MiB/);
    const stored = bytesIn(path.join(at, "lib/node_modules")) / 1e6;
    const said = megabytes("npm i -g");
    assert.ok(Math.abs(stored - said) < said / 10, `${stored} MB on disk, README: ${said} MB`);
    const resumed = await run("vfiokit phase resume 'sim:mlx5?size=1MiB' < a.vfk", at);
    assert.equal(resumed.code, 0, resumed.err);
  });

  it("is installed by deno install -g", { skip: skip.deno }, async () => {
    await printsVersion(`${install("deno install")} >&2 && vfiokit --version`, home("deno"));
  });

  it("runs by deno run", { skip: skip.deno }, async () => {
    const at = home("deno-run");
    await printsVersion(`${install("deno run")} --version`, at);
    const demo = await run(`${install("deno run")} demo`, at);
    assert.equal(demo.code, 0, demo.err);
  });

  it("is added and run by bun", { skip: skip.bun }, async () => {
    const at = home("bun");
    await printsVersion(`${install("bun add")} >&2 && bun vfiokit --version`, at);
    const demo = await run("bun x vfiokit demo", at);
    assert.equal(demo.code, 0, demo.err);
  });

  const LIBRARY = `
    import { openDevice, save } from "vfiokit";
    import { PERSONALITIES } from "vfiokit/sim";
    import * as vfio from "vfiokit/vfio";
    import { inspectCheckpoint } from "vfiokit/checkpoint";
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    await using device = await openDevice("sim:mlx5?size=1MiB");
    const report = await save(device, new WritableStream({ write: (chunk) => void chunks.push(chunk) }));
    const blob = new Blob(chunks);
    const { error } = await inspectCheckpoint(blob);
    console.log(report.state, error, Object.hasOwn(PERSONALITIES, "mlx5"), vfio.parseDeviceName("fd:3").kind);
  `;

  it("is a library with working subpaths", async () => {
    const at = home("library");
    fs.writeFileSync(path.join(at, "use.ts"), LIBRARY);
    fs.writeFileSync(path.join(at, "package.json"), '{ "type": "module" }');
    const lines = IN_DENO
      ? "deno add --quiet npm:vfiokit >&2; deno run -A --quiet use.ts"
      : "bun add vfiokit >&2; bun use.ts";
    const { code, out, err } = await run(lines, at);
    assert.equal(code, 0, err);
    assert.equal(out, "running null true fd\n");
  });

  it("has declarations without an error for tsc --strict", async () => {
    const at = home("types");
    const entries = Object.keys(
      JSON.parse(fs.readFileSync(folder.file("package/package.json"), "utf8")).exports,
    ).filter((entry) => entry !== "./package.json" && entry !== "./cli");
    const imports = entries.map((entry, index) =>
      `export * as m${index} from "vfiokit${entry.slice(1)}";`
    );
    fs.writeFileSync(path.join(at, "all.ts"), imports.join("\n"));
    fs.writeFileSync(path.join(at, "use.ts"), LIBRARY);
    const compilerOptions = {
      ...{ strict: true, noEmit: true, target: "esnext", module: "nodenext", types: [] },
      lib: ["esnext", "dom", "dom.iterable", "dom.asynciterable"],
    };
    fs.writeFileSync(path.join(at, "package.json"), '{ "type": "module" }');
    fs.writeFileSync(
      path.join(at, "tsconfig.json"),
      JSON.stringify({ compilerOptions, files: ["all.ts", "use.ts"] }),
    );
    const tsc = projectFile("node_modules/typescript/bin/tsc");
    const runs = IN_DENO ? "deno run -A --quiet" : "bun run";
    const add = IN_DENO ? "deno install --quiet npm:vfiokit >&2" : "bun add vfiokit >&2";
    const { code, out } = await run(`${add} && ${runs} '${tsc}' -p .`, at);
    assert.equal(out, "");
    assert.equal(code, 0);
  });

  it("says in Node in one line what it needs", { skip: skip.npm }, async () => {
    const at = home("node");
    const code = 'import("vfiokit").catch(({ message }) => console.log(message))';
    const { out, err } = await run(`npm i --silent vfiokit >&2; node -e '${code}'`, at);
    assert.equal(
      out,
      "vfiokit needs Deno or Bun: it calls libc by their FFI, and Node's is experimental\n",
      err,
    );
  });

  it("is compiled by deno compile, if its runtime is at hand", {
    skip: skip.deno || (process.env["DENORT_BIN"] === undefined &&
      "DENORT_BIN names no runtime, and it cannot be fetched without a network"),
  }, async () => {
    await printsVersion(
      `${install("deno compile")} >&2 && ./vfiokit --version`,
      home("deno-compile"),
    );
  });

  it("has completions for three shells", () => {
    for (const shell of ["bash", "zsh", "fish"]) {
      const script = fs.readFileSync(folder.file(`package/completions/vfiokit.${shell}`), "utf8");
      assert.match(script, /vfiokit/);
    }
  });
});
