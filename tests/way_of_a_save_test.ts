// docs/architecture.md tells the way of a save: each file and function that it names is there.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";

const root = path.join(import.meta.dirname!, "..");

/** The most hops that the way may have. */
const MOST_HOPS = 12;

/** The text of the section. */
function section(): string {
  const text = fs.readFileSync(path.join(root, "docs/architecture.md"), "utf8");
  const [, rest] = text.split("## The way of a save\n");
  assert.ok(rest !== undefined, "there is such a section");
  return rest.split("\n## ")[0]!;
}

/** The numbered hops, each in one line. */
function hops(): string[] {
  const [, ...items] = section().split(/^\d+\. /m);
  return items.map((item) => item.split("\n\n")[0]!.replaceAll(/\s+/g, " "));
}

/** Whether a file declares something, or imports it and calls it. */
function has(file: string, name: string): boolean {
  const text = fs.readFileSync(path.join(root, file), "utf8");
  return new RegExp(`\\b${name}\\b`).test(text);
}

/** Whether some file of the library declares a function, a method or a class of this name. */
function declared(name: string, files: readonly string[]): boolean {
  const declaration = new RegExp(
    `\\b(?:function|class) ${name}\\b|^  (?:async )?(?:override )?${name}\\(.*\\{?$`,
    "m",
  );
  return files.some((file) => declaration.test(fs.readFileSync(path.join(root, file), "utf8")));
}

const FILE = /\b(?:src|cli)\/[\w/.]+\.ts\b/g;
const NAME = /`([A-Za-z]\w+)`/g;

describe("the way of a save", () => {
  it(`has at most ${MOST_HOPS} hops`, () => {
    const { length } = hops();
    assert.ok(length > 0 && length <= MOST_HOPS, `${length} hops`);
  });

  it("names files that exist", () => {
    const files = [...section().matchAll(FILE)].map(([file]) => file);
    assert.ok(files.length > 12, `${files.length} files`);
    assert.deepEqual(files.filter((file) => !fs.existsSync(path.join(root, file))), []);
  });

  it("names functions that are there, in the files of their hop", () => {
    const everywhere = [...section().matchAll(FILE)].map(([file]) => file);
    for (const hop of hops()) {
      const files = [...hop.matchAll(FILE)].map(([file]) => file);
      for (const [, name] of hop.matchAll(NAME)) {
        if (hop.includes(`\`${name}(2)\``)) continue;
        const inHop = files.length === 0 ? everywhere : files;
        assert.ok(inHop.some((file) => has(file, name!)), `${name} is in ${inHop}`);
      }
    }
    const names = new Set([...section().matchAll(NAME)].map(([, name]) => name!));
    const sources = fs.globSync("{src,cli}/**/*.ts", { cwd: root });
    const missing = [...names].filter((name) => !declared(name, sources));
    assert.deepEqual(missing, []);
  });
});
