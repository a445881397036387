import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

describe("--json=FILE", () => {
  it("writes the document to the file, in place of what was there, and prints nothing", async () => {
    using folder = new Folder();
    const file = folder.file("state.json");
    writeFileSync(file, "x".repeat(10_000));
    const { code, out, err } = await vfiokit(["state", "sim:mlx5", "stop", `--json=${file}`]);
    assert.deepEqual([code, out], [0, ""], err);
    assert.equal(JSON.parse(readFileSync(file, "utf8")).state, "stop");
  });

  it("writes JSON Lines to the file", async () => {
    using folder = new Folder();
    const file = folder.file("samples");
    const watch = ["dirty", "watch", "sim:mapped", "--map", "0:1MiB", "--every", "1ms"];
    const { code, out, err } = await vfiokit([...watch, "--rounds", "3", `--json=${file}`]);
    assert.deepEqual([code, out], [0, ""], err);
    const rounds = readFileSync(file, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(rounds.map(({ round }) => round), [1, 2, 3]);
  });

  it("writes the document of a failure, and of a wrong usage", async () => {
    using folder = new Folder();
    const file = folder.file("error.json");
    const failed = await vfiokit(["verify", folder.file("absent"), `--json=${file}`]);
    assert.deepEqual([failed.code, failed.out], [1, ""]);
    assert.equal(JSON.parse(readFileSync(file, "utf8")).error.errno, "ENOENT");
    const wrong = await vfiokit(["state", "sim:mlx5", "sideways", `--json=${file}`]);
    assert.deepEqual([wrong.code, wrong.out], [2, ""]);
    assert.equal(JSON.parse(readFileSync(file, "utf8")).error.code, "usage");
  });

  it("goes with a checkpoint on stdout, which --json alone does not", async () => {
    using folder = new Folder();
    const file = folder.file("save.json");
    const save = ["save", "sim:mapped?size=64KiB", "-o", "-", "-q"];
    const both = await vfiokit([...save, `--json=${file}`]);
    assert.equal(both.code, 0, both.err);
    assert.equal(JSON.parse(readFileSync(file, "utf8")).state, "running");
    assert.equal((await vfiokit(["verify", "-"], { stdin: both.stdout })).code, 0);
    const alone = await vfiokit([...save, "--json"]);
    assert.equal(alone.code, 2);
    assert.match(alone.err, /stdout is the checkpoint; use --json=FILE/);
  });

  it("takes no word after it as the file", async () => {
    const { code, out, err } = await vfiokit(["state", "--json", "sim:mlx5"]);
    assert.equal(code, 0, err);
    assert.equal(JSON.parse(out).device, "sim:mlx5");
  });

  it("exits with 2 on an empty name or a second file, and with 1 if it cannot be written", async () => {
    using folder = new Folder();
    const empty = await vfiokit(["uapi", "--json="]);
    assert.equal(empty.code, 2);
    assert.match(empty.err, /The name of the file after --json= is empty/);
    const twice = await vfiokit(["uapi", "--json=/dev/null", "--json=/dev/null"]);
    assert.equal(twice.code, 2);
    assert.match(twice.err, /multiple times/);
    const nowhere = folder.file("absent/file");
    const lost = await vfiokit(["uapi", `--json=${nowhere}`]);
    assert.equal(lost.code, 1);
    assert.match(lost.err, /Cannot write .*absent\/file: .*ENOENT/);
    assert.equal(existsSync(nowhere), false);
  });
});

describe("with -- COMMAND", () => {
  const LENT: readonly string[][] = [
    ["save", "replay:trace", "-o", "absent.vfk"],
    ["restore", "replay:trace", "absent.vfk"],
    ["state", "replay:trace", "stop"],
  ];
  for (const words of LENT) {
    it(`${words[0]} prints its JSON on stderr: stdout is COMMAND's`, async () => {
      // A trace cannot be lent.
      const { code, out, err } = await vfiokit([...words, "--json", "--", "true"]);
      assert.deepEqual([code, out], [2, ""]);
      assert.equal(JSON.parse(err.slice(err.indexOf("{\n"))).error.code, "usage");
    });
  }

  it("stdout is what COMMAND printed, and --json=FILE has the report", async () => {
    using folder = new Folder();
    const file = folder.file("a.vfk");
    const report = folder.file("report.json");
    const device = "sim:mlx5?size=64KiB";
    const commands = [["save", device, "-o", file], ["restore", device, file], [
      "state",
      device,
      "stop",
    ]];
    for (const words of commands) {
      const program = ["--", "sh", "-c", `cat ${report}; echo done`];
      const { code, out, err } = await vfiokit([...words, `--json=${report}`, ...program]);
      assert.equal(code, 0, err);
      // The report is there before the program begins.
      assert.equal(out, `${readFileSync(report, "utf8")}done\n`);
      const quiet = await vfiokit([
        ...words,
        "-q",
        ...(words[0] === "save" ? ["-f"] : []),
        "--",
        "echo",
        "x",
      ]);
      assert.deepEqual([quiet.code, quiet.out, quiet.err], [0, "x\n", ""]);
    }
  });

  it("dirty get refuses to write a bitmap to COMMAND's stdout", async () => {
    const get = ["dirty", "get", "sim:mapped", "--map", "0:1MiB", "--format", "bitmap"];
    const { code, err } = await vfiokit([...get, "--", "true"]);
    assert.equal(code, 2);
    assert.match(err, /it is COMMAND's; name a file by -o/);
  });
});

describe("--quiet", () => {
  it("prints no summary of a save or a restore", async () => {
    using folder = new Folder();
    const file = folder.file("a.vfk");
    const save = await vfiokit(["save", "sim:mapped?size=64KiB", "-o", file, "--quiet"]);
    assert.deepEqual([save.code, save.out, save.err], [0, "", ""]);
    const restore = await vfiokit(["restore", "sim:mapped?size=64KiB", file, "-q"]);
    assert.deepEqual([restore.code, restore.out, restore.err], [0, "", ""]);
    const loud = await vfiokit(["restore", "sim:mapped?size=64KiB", file]);
    assert.match(loud.out, /^Restored /);
  });
});
