import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";

const root = path.join(import.meta.dirname!, "..");
const deno = JSON.parse(fs.readFileSync(path.join(root, "deno.json"), "utf8"));
const npm = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"));

/** The layers that are front doors, beside mod.ts and the command line. */
const LAYERS = ["uapi", "kernel", "trace", "sim", "vfio", "checkpoint", "dirty", "check"];

/** What mod.ts exports: what a user needs who saves, restores and probes devices. */
const FRONT_DOOR = `
  BusyError CheckpointError CheckpointFileError CheckpointSink Device DeviceClosedError DevicesError
  DriverNote Hint IdentityError JointReport JointSaveReport MigrationError OpenDevices OpenError
  OpenOptions PrecopyOptions Progress ReadBackError Recovery Remedy RestoreOptions RestoreSource
  SaveOptions SaveReport StateName StateReport Transaction TransferReport UnsupportedError VERSION
  VfiokitError checkIdentity cleanupErrors createCheckpointFile firstError openCheckpointFile
  openDevice openDevices precopy printable probe restore restoreAll resume save saveAll serveDevice
  stopAndCopy verifyCheckpoint
`.trim().split(/\s+/);

/** The names that a module re-exports, types included. */
function exportedNames(file: string): string[] {
  const text = fs.readFileSync(path.join(root, file), "utf8");
  assert.doesNotMatch(text, /^export \*/m, `${file} lists what it exports`);
  return [...text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)]
    .flatMap(([, list]) => list!.split(",").map((name) => name.trim().replace(/^type /, "")))
    .filter((name) => name !== "")
    .sort();
}

describe("deno.json", () => {
  const doors = LAYERS.map((layer) => [`./${layer}`, `./src/${layer}/mod.ts`]);

  it("exports the front doors, and nothing else", () => {
    const expected = Object.fromEntries([
      [".", "./mod.ts"],
      ...doors,
      ["./cli", "./cli/main.ts"],
    ]);
    assert.deepEqual(deno.exports, expected);
  });

  it("maps each front door to its name, for the examples", () => {
    const expected = Object.fromEntries([
      ["@vfiokit/vfiokit", "./mod.ts"],
      ...doors.map(([door, file]) => [`@vfiokit/vfiokit${door!.slice(1)}`, file]),
    ]);
    const own = Object.entries(deno.imports).filter(([name]) => name.startsWith("@vfiokit/"));
    assert.deepEqual(Object.fromEntries(own), expected);
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

describe("package.json", () => {
  it("has the front doors that deno.json has", () => {
    assert.deepEqual(npm.exports, deno.exports);
  });
});

describe("mod.ts", () => {
  it("exports what a user needs: at most fifty names", () => {
    assert.deepEqual(exportedNames("mod.ts"), FRONT_DOOR);
    assert.ok(FRONT_DOOR.length <= 50);
  });
});
