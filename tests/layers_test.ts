import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";

const root = path.join(import.meta.dirname!, "..");

/** Files in one folder; one that has more holds several ideas. */
const MOST_FILES = 16;

/** The layers, from the highest to the lowest, and what each may import. docs/architecture.md shows the same table. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  cli: [
    "mod.ts",
    "live",
    "vmm",
    "check",
    "server",
    "dirty",
    "checkpoint",
    "vfio",
    "trace",
    "sim",
    "kernel",
    "uapi",
    "base",
  ],
  "mod.ts": ["transfer", "migration", "checkpoint", "vfio", "base"],
  vmm: ["migration", "checkpoint", "vfio", "kernel", "uapi", "base"],
  check: ["vfio", "vfio_user", "trace", "sim", "kernel", "uapi", "base"],
  live: ["transfer", "migration", "dirty", "checkpoint", "vfio", "kernel", "base"],
  transfer: ["migration", "checkpoint", "vfio", "kernel", "base"],
  migration: ["dirty", "checkpoint", "vfio", "trace", "kernel", "uapi", "base"],
  dirty: ["vfio", "trace", "kernel", "uapi", "base"],
  checkpoint: ["vfio", "kernel", "base"],
  server: ["vfio", "vfio_user", "trace", "sim", "kernel", "uapi", "base"],
  vfio: ["vfio_user", "trace", "sim", "kernel", "uapi", "base"],
  vfio_user: ["sim", "kernel", "uapi", "base"],
  sim: ["kernel", "uapi", "base"],
  trace: ["kernel", "uapi", "base"],
  kernel: ["uapi", "base"],
  uapi: [],
  base: [],
};

/** Circles between files that may be: types of one idea. Each is the names of its files, sorted. */
const CIRCLES: readonly string[] = [];

/** The TypeScript files below a folder, from the root. */
function filesIn(folder: string): string[] {
  return fs.readdirSync(path.join(root, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const at = path.join(folder, entry.name);
      return entry.isDirectory() ? filesIn(at) : entry.name.endsWith(".ts") ? [at] : [];
    });
}

const FILES = ["mod.ts", ...filesIn("src"), ...filesIn("cli")];

/** What each file imports, by relative path: statically, or when it runs. */
const IMPORTS = new Map(FILES.map((file) => {
  const code = fs.readFileSync(path.join(root, file), "utf8").replaceAll(
    /^ *(?:\*|\/\/|\/\*).*$/gm,
    "",
  );
  const found = code.matchAll(
    /^(?:import|export)\s[^;"]*?from "(\.[^"]+)"|^import "(\.[^"]+)"|\bimport\("(\.[^"]+)"\)/gm,
  );
  const imports = [...found]
    .map(([, from, bare, dynamic]) => path.join(path.dirname(file), (from ?? bare ?? dynamic)!))
    .filter((target) => target.endsWith(".ts"));
  return [file, imports] as const;
}));

/** What is loaded with a file: all but types and what is imported when it runs. */
function loadedWith(file: string, loaded: Set<string> = new Set()): Set<string> {
  if (loaded.has(file)) return loaded;
  loaded.add(file);
  const code = fs.readFileSync(path.join(root, file), "utf8");
  const statements = code.matchAll(
    /^(?:import|export) (?!type )(?!\{(?:\s*type \w+(?: as \w+)?,?)+\s*\})[^;"]*?"(\.[^"]+\.ts)";/gm,
  );
  for (const [, target] of statements) loadedWith(path.join(path.dirname(file), target!), loaded);
  return loaded;
}

/** The layer of a file: `cli`, `mod.ts`, or its folder in src. */
function layerOf(file: string): string {
  const [top, folder] = file.split("/");
  return top === "src" ? folder! : top!;
}

/** Every import, as the file and what it imports. */
function eachImport(): [file: string, target: string][] {
  return [...IMPORTS].flatMap(([file, targets]) =>
    targets.map((target): [string, string] => [file, target])
  );
}

/** The circles of a graph: its strongly connected parts of more than one file (Tarjan). */
function circles(): string[] {
  const found: string[] = [];
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const visit = (file: string): void => {
    index.set(file, index.size);
    low.set(file, index.get(file)!);
    stack.push(file);
    for (const target of IMPORTS.get(file) ?? []) {
      if (!index.has(target)) visit(target);
      if (stack.includes(target)) low.set(file, Math.min(low.get(file)!, low.get(target)!));
    }
    if (low.get(file) !== index.get(file)) return;
    const part = stack.splice(stack.indexOf(file));
    if (part.length > 1) found.push(part.sort().join(" "));
  };
  for (const file of FILES) if (!index.has(file)) visit(file);
  return found.sort();
}

/** The rows of a table in docs/architecture.md whose first column's heading is this, as their cells. */
function rowsOf(heading: string): string[][] {
  const lines = fs.readFileSync(path.join(root, "docs/architecture.md"), "utf8").split("\n");
  const start = lines.findIndex((line) => line.startsWith(`| ${heading} `));
  assert.notEqual(start, -1, heading);
  const end = lines.findIndex((line, at) => at > start && !line.startsWith("|"));
  return lines.slice(start + 2, end)
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
}

/** The words in backquotes in a cell, without a slash at the end. */
function quoted(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word!.replace(/\/$/, ""));
}

describe("the layers", () => {
  it("are the folders of src, each below those that import it", () => {
    assert.deepEqual(Object.keys(LAYERS).sort(), [...new Set(FILES.map(layerOf))].sort());
    const names = Object.keys(LAYERS);
    for (const [layer, below] of Object.entries(LAYERS)) {
      for (const name of below) assert.ok(names.indexOf(name) > names.indexOf(layer), layer);
    }
  });

  it("import what the table lets them", () => {
    const wrong = eachImport().filter(([file, target]) => {
      const [from, to] = [layerOf(file), layerOf(target)];
      return from !== to && !LAYERS[from]!.includes(to);
    });
    assert.deepEqual(wrong, []);
  });

  it("are shown in docs/architecture.md", () => {
    const rows = rowsOf("layer").map(([layer, imports]) => [
      quoted(layer!)[0]!.replace("src/", ""),
      quoted(imports!),
    ]);
    assert.deepEqual(rows, Object.entries(LAYERS).map(([layer, below]) => [layer, below]));
  });

  it("have their folders listed in docs/architecture.md", () => {
    const folders = new Set(
      FILES.map(path.dirname).filter((name) =>
        name.split("/").length > (name.startsWith("src") ? 2 : 1)
      ),
    );
    assert.deepEqual(
      rowsOf("folder").flatMap(([cell]) => quoted(cell!)).sort(),
      [...folders].sort(),
    );
  });
});

describe("docs", () => {
  const docs = [
    "README.md",
    ...fs.readdirSync(path.join(root, "docs")).map((name) => `docs/${name}`),
  ]
    .filter((file) => file.endsWith(".md"));

  it("name files that exist", () => {
    const missing = docs.flatMap((file) => {
      const text = fs.readFileSync(path.join(root, file), "utf8").replaceAll("\\_", "_");
      return [...text.matchAll(/(?<![\w/.-])(?:src|cli|tests|fixtures|docs)\/[\w./-]*\w/g)]
        .map(([named]) => `${file}: ${named}`)
        .filter((named) => !fs.existsSync(path.join(root, named.split(": ")[1]!)));
    });
    assert.deepEqual(missing, []);
  });
});

describe("the files of src and cli", () => {
  it("import no private file of another folder", () => {
    const wrong = eachImport().filter(([file, target]) =>
      path.basename(target).startsWith("_") && path.dirname(target) !== path.dirname(file)
    );
    assert.deepEqual(wrong, []);
  });

  it("reach the library from the command line by front doors only", () => {
    const { exports } = JSON.parse(fs.readFileSync(path.join(root, "deno.json"), "utf8"));
    const doors = Object.values<string>(exports).map((door) => path.normalize(door));
    const wrong = eachImport().filter(([file, target]) =>
      file.startsWith("cli/") && !target.startsWith("cli/") && !target.startsWith("src/base/") &&
      !doors.includes(target)
    );
    assert.deepEqual(wrong, []);
  });

  it("are not loaded before they are needed", () => {
    // A value that is imported from mod.ts alone would load all of the library for --help.
    const layers = (file: string): string[] =>
      [...new Set([...loadedWith(file)].map(layerOf))].filter((layer) => layer !== "cli").sort();
    assert.deepEqual(layers("cli/run.ts"), ["base"]);
    const ofDevices = ["sim", "dirty", "transfer"];
    for (const file of ["checkpoint/verify.ts", "checkpoint/show.ts", "trace/show.ts"]) {
      const loaded = layers(`cli/commands/${file}`);
      assert.deepEqual(loaded.filter((layer) => ofDevices.includes(layer)), [], file);
    }
  });

  it(`are at most ${MOST_FILES} in a folder`, () => {
    const counts = Map.groupBy(FILES, path.dirname);
    const full = [...counts].filter(([, files]) => files.length > MOST_FILES);
    assert.deepEqual(full.map(([folder, { length }]) => `${folder}: ${length}`), []);
  });

  it("import each other in no circle", () => {
    assert.deepEqual(circles(), CIRCLES);
  });
});
