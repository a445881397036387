import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";

const root = path.join(import.meta.dirname!, "..");
const deno = JSON.parse(fs.readFileSync(path.join(root, "deno.json"), "utf8"));
const npm = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"));

/** Every file of src that is public: `./vfio/device-name` for src/vfio/open/device_name.ts. */
function publicFiles(folder: string): [name: string, file: string][] {
  return fs.readdirSync(path.join(root, "src", folder), { withFileTypes: true })
    .filter(({ name }) => !name.startsWith("_"))
    .flatMap((entry): [string, string][] => {
      const at = path.join(folder, entry.name);
      if (entry.isDirectory()) return publicFiles(at);
      const name = at.replaceAll("_", "-").replace(/(\/mod)?\.ts$/, "");
      return [[`./${name}`, `./src/${at}`]];
    });
}

describe("deno.json", () => {
  it("exports every public file of src", () => {
    const expected = Object.fromEntries([
      [".", "./mod.ts"],
      ["./cli", "./cli/main.ts"],
      ...publicFiles("").sort(),
    ]);
    assert.deepEqual(deno.exports, expected);
  });

  it("has the version and the packages that package.json has", async () => {
    const { VERSION } = await import("../src/base/version.ts");
    assert.equal(deno.version, npm.version);
    assert.equal(deno.version, VERSION);
    const imports = Object.entries(deno.imports as Record<string, string>)
      .filter(([, target]) => target.startsWith("npm:"));
    const packages: Record<string, string> = { ...npm.dependencies, ...npm.devDependencies };
    for (const [, target] of imports) {
      const match = /^npm:\/?((?:@[^/]+\/)?[^@/]+)@([^/]+)/.exec(target);
      assert.ok(match, target);
      assert.equal(packages[match[1]!], match[2], target);
    }
  });
});
