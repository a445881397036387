import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { describe, it } from "node:test";
import { megabytes } from "../package/_readme_sizes.ts";

const root = path.join(import.meta.dirname!, "..", "..");

describe("the single file that Bun compiles", () => {
  it("is made by the task, and has the device's thread in it", () => {
    const { tasks } = JSON.parse(fs.readFileSync(path.join(root, "deno.json"), "utf8"));
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-compile-"));
    try {
      const outfile = path.join(folder, "vfiokit");
      const command = (tasks.compile.command as string).replace("dist/vfiokit", outfile);
      assert.ok(command.includes(outfile), command);
      const built = spawnSync("sh", ["-c", command], { cwd: root, encoding: "utf8" });
      assert.equal(built.status, 0, built.stderr);
      const stored = fs.statSync(outfile).size / 1e6;
      const said = megabytes("deno task compile");
      assert.ok(Math.abs(stored - said) < said / 10, `${stored} MB on disk, README: ${said} MB`);
      const file = path.join(folder, "a.vfk");
      const saved = spawnSync(outfile, ["save", "sim:mapped?size=1MiB", "-o", file, "--json"], {
        cwd: folder,
        encoding: "utf8",
      });
      assert.equal(saved.status, 0, saved.stderr);
      assert.equal(JSON.parse(saved.stdout).state, "running");
      assert.equal(spawnSync(outfile, ["verify", file]).status, 0);
      const input = fs.readFileSync(file);
      const resumed = spawnSync(outfile, ["phase", "resume", "sim:mapped?size=1MiB"], { input });
      assert.equal(resumed.status, 0, String(resumed.stderr));
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });
});
