import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { COMMANDS } from "../../cli/specs/commands.ts";
import { IN_DENO, projectFile, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

const skip = IN_DENO ? false : "permissions are Deno's";

/** A command line of each command that the table gives permissions for. */
function lines(folder: Folder): Readonly<Record<string, readonly string[]>> {
  const file = folder.file("a");
  return {
    probe: ["probe", "sim:mapped"],
    state: ["state", "sim:mapped", "stop"],
    reset: ["reset", "sim:mapped"],
    check: ["check", "sim:mapped?size=1MiB"],
    save: ["save", "sim:mapped?size=1MiB", "--precopy", "-o", file],
    restore: ["restore", "sim:mapped?size=1MiB", file],
    verify: ["verify", file],
    show: ["show", file],
    "dirty get": ["dirty", "get", "sim:mapped", "--map", "0:1MiB", "--after", "1ms"],
    "dirty watch": ["dirty", "watch", "sim:mapped", "--map", "0:1MiB", "--rounds", "1"],
    unmap: ["unmap", "sim:mapped", "--map", "0:4KiB", "--iova", "0", "--size", "4KiB"],
    uapi: ["uapi", "vfio_region_info"],
    demo: ["demo"],
    man: ["man"],
  };
}

describe("a command", () => {
  it("runs with the permissions that its help names, and no more", { skip }, async () => {
    using folder = new Folder();
    for (const [name, words] of Object.entries(lines(folder))) {
      const permissions = COMMANDS.find((command) => command.name === name)?.permissions ?? [];
      const { code, err } = await vfiokit(words, { permissions });
      assert.equal(code, 0, `${name}: ${err}`);
    }
  });

  it("names the flag that is missing", { skip }, async () => {
    const { code, err } = await vfiokit(["state", "0000:3b:00.1"], { permissions: [] });
    assert.equal(code, 1);
    assert.match(err, /--allow-/);
  });
});

describe("the lock file", () => {
  it("names no registry", () => {
    assert.doesNotMatch(readFileSync(projectFile("deno.lock"), "utf8"), /https?:/);
  });
});
