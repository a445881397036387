import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
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

  it("is named to the program as to vfiokit, with ! for a slash as in sysfs", async () => {
    const name = "sim:mlx5?size=1MiB&dma=hot:90/10";
    const { out } = await vfiokit(["with", name, "--", "sh", "-c", "echo $VFIOKIT_DEVICES"]);
    assert.equal(JSON.parse(out)[0].name, "sim:mlx5?size=1MiB&dma=hot:90!10");
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

describe("the dirty pages of a simulated device that is lent to a program", () => {
  const device = "sim:mlx5?size=1MiB&doorbell=1";
  const memory = ["--map", "0x100000:1MiB"];
  const ring = command({ script: "tests/cli/_ring_doorbell.ts" });

  it("are those that the program made it write to", async () => {
    using folder = new Folder();
    const file = folder.file("runs");
    const { code, out, err } = await vfiokit([
      ...["dirty", "get", device, ...memory, "-o", file, "--", ...ring, "0x123ffc"],
    ]);
    assert.equal(code, 0, err);
    assert.equal(out, "ABCD\n");
    assert.equal(readFileSync(file, "utf8"), "0x123000:0x1000\n");
  });

  it("are those of its memory when it is unmapped, and of the rounds of a watch", async () => {
    const unmapped = await vfiokit([
      ...[
        "unmap",
        device,
        ...memory,
        "--with-dirty",
        "--iova",
        "0x100000",
        "--size",
        "1MiB",
        "--",
        ...ring,
        "0x1ff000",
      ],
    ]);
    assert.equal(unmapped.code, 0, unmapped.err);
    assert.match(unmapped.err, /^1 page dirty .*\n {2}0x1ff000:0x1000$/m);
    const watched = await vfiokit([
      ...["dirty", "watch", device, ...memory, "--every", "3600s", "--", ...ring, "0x180000"],
    ]);
    assert.equal(watched.code, 0, watched.err);
    assert.match(watched.err, /^1 round in .* working set 4\.0 KiB \(1 page\)\.$/m);
  });

  it("are its own log's: without one there is no tracker", async () => {
    const { code, err } = await vfiokit([
      ...["dirty", "get", "sim:trapped?size=1MiB", ...memory, "--", "true"],
    ]);
    assert.equal(code, 3, err);
    assert.match(err, /no type1 container: it is served over a socket/);
    assert.match(err, /The device has no log of its own DMA/);
  });

  it("are asked for by a program that it is lent to, and lent on", async () => {
    const get = [...command(), "dirty", "get", "fd:3", ...memory, "--", ...ring, "0x1ff000"];
    const { code, out, err } = await vfiokit(["with", device, "--", ...get]);
    assert.equal(code, 0, err);
    assert.match(out + err, /^ABCD$[^]*^0x1ff000:0x1000$/m);
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
          ["check", name],
          ["dirty", "get", name, "--map", "0:1MiB"],
          ["receive", name, "--listen", "unix:/run/vfiokit-nobody.sock"],
        ]
      ) {
        const { code, err } = await vfiokit([...before, "--", "true"]);
        assert.equal(code, 2, err);
        assert.match(err, /Cannot lend ".*" to a program/);
      }
    }
    assert.ok(!existsSync(file));
  });

  it("is a simulated device that is checked: its own DMA is the load", async () => {
    const { code, err } = await vfiokit(["check", "sim:mlx5", "--", "true"]);
    assert.equal(code, 2);
    assert.match(err, /Cannot keep "sim:mlx5" busy by a program: .* its own DMA is the load/);
  });

  it("is refused if the simulated device is not one", async () => {
    const { code, err } = await vfiokit(["with", "sim:nothing", "--", "true"]);
    assert.equal(code, 2);
    assert.match(err, /no personality is named/);
  });
});
