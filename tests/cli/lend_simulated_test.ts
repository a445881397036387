import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { describe, it } from "node:test";
import { shellWord } from "../../src/vfio/mod.ts";
import { command, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

/** What a phase of a lent device needs. */
const permissions = ["--allow-read", "--allow-ffi", "--allow-env=VFIOKIT_DEVICES"];

/** A shell's words for the command line, or for the script of a phase. */
function words(script?: string): string {
  const options = script === undefined ? {} : { script: `cli/phases/${script}.ts`, permissions };
  return command(options).map(shellWord).join(" ");
}

/** A shell's words for the command of a phase. */
function phase(name: string): string {
  return [...command({ permissions }), "phase", name].map(shellWord).join(" ");
}

describe("a simulated device that is lent to a program", () => {
  for (const name of ["sim:mlx5?size=2MiB&rate=1MiB", "sim:mapped?size=2MiB"]) {
    it(`is saved by one command per phase: ${name}`, async () => {
      using folder = new Folder();
      const file = folder.file("a.vfk");
      const script = `${phase("precopy")} fd:3 | ${phase("stop-and-copy")} fd:3 > ${file}`;
      const { code, err } = await vfiokit(["with", name, "--", "sh", "-c", script]);
      assert.equal(code, 0, err);
      assert.match(err, /was left in state stop, and is closed now/);
      const verified = await vfiokit(["verify", file]);
      assert.equal(verified.code, 0, verified.err);
    });
  }

  it("gives its state to another one, which is lent with it", async () => {
    const script = `${words("stop_and_copy")} fd:3 < /dev/null | ${words("resume")} fd:4 && ` +
      `${words()} state fd:3 && ${words()} state fd:4`;
    const names = ["sim:mlx5?size=1MiB&seed=1", "sim:mlx5?size=1MiB&seed=2"];
    const { code, out, err } = await vfiokit(["with", ...names, "--", "sh", "-c", script]);
    assert.equal(code, 0, err);
    assert.match(out, /^fd:3: stop .*\nfd:4: running /);
  });

  it("keeps the state that a command brought it to", async () => {
    using folder = new Folder();
    const file = folder.file("a.vfk");
    const ask = ["sh", "-c", `${words()} state fd:3`];
    const device = "sim:mapped?size=1MiB";
    const saved = await vfiokit(["save", device, "--leave", "stop", "-o", file, "--", ...ask]);
    assert.equal(saved.code, 0, saved.err);
    assert.match(saved.out, /^fd:3: stop/);
    const restored = await vfiokit(["restore", device, file, "--leave", "stop", "--", ...ask]);
    assert.equal(restored.code, 0, restored.err);
    assert.match(restored.out, /^fd:3: stop/);
    const set = await vfiokit(["state", "sim:mlx5?size=1MiB", "stop", "--", ...ask]);
    assert.equal(set.code, 0, set.err);
    assert.match(set.out, /^fd:3: stop/);
  });

  it("is open while a program that uses it is killed, and for the next one", async () => {
    // Both are killed once the first has written something, in pre-copy.
    const killed = `${words("precopy")} fd:3 | { head -c 1 > /dev/null; kill -9 0; }`;
    const next = `${words()} state fd:3 running`;
    const line = `setsid sh -c ${shellWord(killed)}; ${next}`;
    const { code, out, err } = await vfiokit([
      ...["with", "sim:mlx5?size=8MiB", "--", "sh", "-c", line],
    ]);
    assert.equal(code, 0, err);
    assert.match(out, /^fd:3: running/);
  });
});

describe("what cannot be lent", () => {
  it("is refused before anything is done", async () => {
    using folder = new Folder();
    const file = folder.file("a.vfk");
    for (const name of ["replay:trace", "vfio-user:/run/a.sock"]) {
      for (
        const before of [
          ["save", name, "-o", file],
          ["restore", name, file],
          ["state", name],
          ["with", name],
        ]
      ) {
        const { code, err } = await vfiokit([...before, "--", "true"]);
        assert.equal(code, 2, err);
        assert.match(err, /Cannot lend ".*" to a program/);
      }
    }
    assert.ok(!existsSync(file));
  });

  it("is refused if the simulated device is not one", async () => {
    const { code, err } = await vfiokit(["with", "sim:nothing", "--", "true"]);
    assert.equal(code, 2);
    assert.match(err, /no personality is named/);
  });
});
