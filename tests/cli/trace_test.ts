import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

/** A trace of a save. */
async function saved(folder: Folder, ...options: readonly string[]): Promise<string> {
  const path = folder.file("t");
  const device = "sim:mlx5?size=256KiB";
  const args = ["save", device, "--precopy", "-o", folder.file("a"), "--trace", path, ...options];
  const { code, err, out } = await vfiokit(args);
  assert.equal(code, 0, err);
  if (options.includes("--json")) {
    assert.deepEqual(JSON.parse(out).trace, { file: path, failed: null });
  }
  return path;
}

describe("--trace", () => {
  it("is in the JSON document", async () => {
    using folder = new Folder();
    await saved(folder, "--json");
  });

  it("refuses a file that is something else, before anything is done", async () => {
    using folder = new Folder();
    const path = folder.file("t");
    writeFileSync(path, "mine");
    const { code, err } = await vfiokit(["reset", "sim:mlx5", "--trace", path]);
    assert.equal(code, 1);
    assert.match(err, /^vfiokit reset: Cannot create the trace .*: EEXIST \(already exists\)/);
    assert.match(err, /hint: It is no trace/);
    assert.equal(readFileSync(path, "utf8"), "mine");
    const data = await vfiokit(["reset", "sim:mlx5", "--trace-data"]);
    assert.equal(data.code, 2);
    assert.match(data.err, /Cannot use --trace-data without --trace/);
  });

  for (
    const args of [
      ["probe", "sim:mlx5"],
      ["state", "sim:mlx5"],
      ["reset", "sim:mlx5"],
      ["dirty", "get", "sim:trapped?pin=1", "--map", "0:1MiB", "--after", "1ms"],
      ["unmap", "sim:trapped", "--map", "0:1MiB", "--iova", "0", "--size", "1MiB"],
    ]
  ) {
    it(`traces ${args[0]}`, async () => {
      using folder = new Folder();
      const path = folder.file("t");
      const { code, err } = await vfiokit([...args, "--trace", path]);
      assert.equal(code, 0, err);
      const lines = readFileSync(path, "utf8").trimEnd().split("\n").map((line) =>
        JSON.parse(line)
      );
      assert.deepEqual(lines[0].devices, [args.find((word) => word.startsWith("sim:"))]);
      assert.ok(lines.some(({ request }) => request === "VFIO_DEVICE_GET_INFO"));
      assert.equal(lines.at(-1).type, "end");
    });
  }
});

describe("vfiokit trace show", () => {
  it("prints the calls in VFIO's words", async () => {
    using folder = new Folder();
    const { code, out, err } = await vfiokit(["trace", "show", await saved(folder)]);
    assert.equal(code, 0, err);
    assert.match(err, /^A trace of sim:mlx5\?size=256KiB, begun 20\S+ by vfiokit /);
    const lines = out.trimEnd().split("\n");
    assert.equal(lines[0], "thread 1: sim:mlx5?size=256KiB, kernel sim");
    assert.match(
      out,
      /^ +\d+\.\d{6} VFIO_DEVICE_FEATURE\(5<device 0000:3b:00\.1>, SET MIG_DEVICE_STATE, device_state=pre-copy, data_fd=-1\) = 0, data_fd=\d+ <\d+\.\d+ (µs|ms)>$/m,
    );
  });

  it("shows only what is asked for", async () => {
    using folder = new Folder();
    const path = await saved(folder);
    const states = await vfiokit(["trace", "show", path, "--filter", "stop-copy", "--json"]);
    const events = states.out.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.ok(events.length >= 2);
    assert.ok(events.every(({ state }) => state === "stop-copy"));
    const slow = await vfiokit(["trace", "show", path, "--slower-than", "1000s", "--json"]);
    assert.equal(slow.out, "");
    assert.equal((await vfiokit(["trace", "show", path, "--slower-than", "long"])).code, 2);
  });

  it("writes what Perfetto opens", async () => {
    using folder = new Folder();
    const to = folder.file("p.json");
    const path = await saved(folder);
    const { code, out, err } = await vfiokit(["trace", "show", path, "--perfetto", to]);
    assert.equal(code, 0, err);
    assert.equal(out, "");
    const { traceEvents } = JSON.parse(readFileSync(to, "utf8"));
    assert.ok(
      traceEvents.some(({ cat, name }: Record<string, unknown>) =>
        cat === "state" && name === "stop-copy"
      ),
    );
    const again = await vfiokit(["trace", "show", path, "--perfetto", to]);
    assert.equal(again.code, 1);
    assert.match(again.err, /EEXIST/);
  });

  it("prints what comes before the fault of a bad trace, and exits with 4", async () => {
    using folder = new Folder();
    const path = await saved(folder);
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.slice(0, -80));
    const { code, out, err } = await vfiokit(["trace", "show", path, "--json"]);
    assert.equal(code, 4);
    assert.match(err, /line \d+: the line is cut/);
    const lines = out.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.ok(lines.length > 50);
    assert.equal(lines.at(-1).error.code, "cut");
  });

  it("is refused in a file that the command writes anyway", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    const { code, err } = await vfiokit(["save", "sim:mlx5", "-o", file, "--trace", file]);
    assert.equal(code, 2);
    assert.match(err, /it is the file of --output/);
    assert.ok(!existsSync(file));
  });
});
