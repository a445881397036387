import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { parseSamples } from "../../cli/dirty/samples.ts";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

const BUSY = "sim:mapped?pin=4&dma=random:2000/s";
const MAP = ["--map", "0x100000:1MiB", "--map", "4GiB:1MiB"];
const QUICK = [...MAP, "--every", "20ms"];

describe("`dirty watch`", () => {
  it("prints a line a round, and the working set in the end", async () => {
    const { code, out, err } = await vfiokit(["dirty", "watch", BUSY, ...QUICK, "--rounds", "4"]);
    assert.equal(code, 0, err);
    const lines = out.trimEnd().split("\n");
    assert.equal(lines.length, 6);
    assert.match(lines[0]!, /^ round +time +pages +bytes +rate +working set +pinned$/);
    assert.match(lines[1]!, /^ +1 .* (?:KiB|MiB)\/s .* -$/);
    assert.match(lines[4]!, /^ +4 .*\d$/);
    assert.match(lines[5]!, /^4 rounds in .*, working set .* \(\d+ pages\)\.$/);
  });

  it("prints JSON Lines that forecast reads", async () => {
    const { code, out } = await vfiokit(
      ["dirty", "watch", BUSY, ...QUICK, "--rounds", "10", "--json"],
    );
    assert.equal(code, 0);
    const samples = parseSamples(out);
    assert.deepEqual(samples.map(({ round }) => round), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let distinct = 0;
    for (const { round, time, pages, distinctPages, mappings, runs } of samples) {
      assert.ok(pages >= 4 && distinctPages >= Math.max(pages, distinct));
      // One that comes late, as on a busy host, is followed by one that comes in time.
      assert.ok(time >= round * 0.02 - 0.002, `round ${round} at ${time}`);
      assert.equal(mappings.length, 2);
      assert.equal(runs[0]!.iova, 0x100000n);
      assert.ok(runs[0]!.size >= 0x4000n);
      distinct = distinctPages;
    }
    assert.equal(samples[0]!.pinnedPages, null);
    assert.ok(samples.at(-1)!.pinnedPages! >= 4);
    const forecast = await vfiokit(["dirty", "forecast", "-", "--bandwidth", "10Gbit"], {
      stdin: out,
    });
    assert.equal(forecast.code, 0);
  });

  it("draws a heatmap beside the lines", async () => {
    const { out, err } = await vfiokit(
      ["dirty", "watch", "sim:mapped?pin=4", ...QUICK, "--rounds", "1", "--heatmap"],
    );
    assert.match(err, /^Each cell is .* of memory: ░▒▓█ from one page to all of them\.$/m);
    const [heading, line] = out.split("\n");
    assert.match(heading!, / 0x100000 +0x1000fffff$/);
    assert.match(line!, / - {2}[░▒▓█]$/);
  });

  it("writes a report", async () => {
    using folder = new Folder();
    const file = folder.file("dirty.html");
    const { code, err } = await vfiokit(
      ["dirty", "watch", BUSY, ...QUICK, "--rounds", "3", "--report", file],
    );
    assert.equal(code, 0);
    assert.match(err, /The report is in .*dirty\.html\.$/m);
    const html = readFileSync(file, "utf8");
    assert.ok(html.includes("Dirty pages of sim:mapped?pin=4&amp;dma=random:2000/s"));
    assert.match(html, /3 rounds/);
  });

  it("replaces no report but with --force, and asks before it opens the device", async () => {
    using folder = new Folder();
    const file = folder.file("dirty.html");
    writeFileSync(file, "a checkpoint");
    const words = ["dirty", "watch", BUSY, ...QUICK, "--rounds", "1", "--report", file];
    const none = ["dirty", "watch", "0000:00:00.0", ...MAP, "--report", file];
    for (const line of [words, none]) {
      const { code, out, err } = await vfiokit(line);
      assert.deepEqual([code, out], [1, ""]);
      assert.match(
        err,
        /Cannot create ".*dirty\.html": EEXIST[^]*hint: .*file replaced \(--force\)/,
      );
      assert.equal(readFileSync(file, "utf8"), "a checkpoint");
    }
    const { code, err } = await vfiokit([...words, "--force"]);
    assert.equal(code, 0, err);
    assert.match(readFileSync(file, "utf8"), /working set/);
    assert.deepEqual(readdirSync(dirname(file)), ["dirty.html"]);
  });

  it("says that there is a report once it is whole, and leaves none if it is not", async () => {
    using folder = new Folder();
    const file = folder.file("dirty.html");
    const words = ["dirty", "watch", BUSY, ...QUICK, "--rounds", "1", "--json", "--report"];
    const full = await vfiokit([...words, "/dev/full"]);
    assert.equal(full.code, 1);
    assert.match(full.err, /Cannot write "\/dev\/full": ENOSPC/);
    assert.doesNotMatch(full.err, /The report is in/);
    assert.equal(JSON.parse(full.out.trimEnd().split("\n").at(-1)!).error.errno, "ENOSPC");
    assert.equal((await vfiokit([...words, "/dev/null"])).code, 0);
    const refused = ["dirty", "watch", "sim:mapped?fault=no-dirty-capability", ...QUICK];
    assert.equal((await vfiokit([...refused, "--report", file])).code, 3);
    assert.deepEqual(readdirSync(dirname(file)), []);
  });

  for (const more of [[], ["--json"]]) {
    it(`ends when the reader of its lines goes away${more.map((word) => `, ${word}`)}`, async () => {
      const { code, err } = await vfiokit(["dirty", "watch", BUSY, ...QUICK, ...more], {
        started: (child) => child.stdout?.once("data", () => child.stdout?.destroy()),
      });
      assert.equal(code, 1);
      assert.match(err, /^vfiokit dirty watch: Cannot write the rounds to stdout: EPIPE/m);
    });
  }

  it("goes on for its report when the reader of its lines goes away", async () => {
    using folder = new Folder();
    const file = folder.file("dirty.html");
    const words = ["dirty", "watch", BUSY, ...QUICK, "--rounds", "6", "--report", file];
    const { code, err } = await vfiokit(words, {
      started: (child) => child.stdout?.once("data", () => child.stdout?.destroy()),
    });
    assert.equal(code, 0, err);
    assert.match(readFileSync(file, "utf8"), /6 rounds/);
  });

  for (const [signal, exitCode] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    it(`ends with ${exitCode} after ${signal}: what there is was read and reported`, async () => {
      using folder = new Folder();
      const file = folder.file("dirty.html");
      const words = ["dirty", "watch", BUSY, ...QUICK, "--report", file, "--json"];
      let seen = "";
      const { code, out, err } = await vfiokit(words, {
        started: (child) =>
          child.stdout?.on("data", (chunk: Uint8Array) => {
            const first = seen === "";
            seen += new TextDecoder().decode(chunk);
            if (first) process.kill(child.pid!, signal);
          }),
      });
      assert.equal(code, exitCode, err);
      assert.ok(parseSamples(out).length >= 1);
      assert.match(readFileSync(file, "utf8"), /working set/);
    });
  }

  it("says if an IOMMU does not track, once, on stderr and in the samples", async () => {
    const { out, err } = await vfiokit(
      ["dirty", "watch", "sim:mapped?iommu=all-dirty", ...QUICK, "--rounds", "4", "--json"],
    );
    assert.equal(err.split("This IOMMU does not track").length, 2);
    for (const { pages, pinnedPages, notes } of parseSamples(out)) {
      assert.deepEqual([pages, pinnedPages, notes.length], [512, null, 1]);
    }
  });

  const wrong: readonly (readonly [string, readonly string[], RegExp])[] = [
    ["no time between reads", [...MAP, "--every", "0s"], /Cannot read every 0ms/],
    ["JSON and a heatmap at once", [...MAP, "--json", "--heatmap"], /both --json and --heatmap/],
    ["a report to stdout", [...MAP, "--report", "-"], /Cannot write the report to stdout/],
    ["no memory", ["--json"], /name some by --map/],
  ];
  for (const [what, words, says] of wrong) {
    it(`exits with 2 on ${what}`, async () => {
      const { code, out, err } = await vfiokit(["dirty", "watch", "sim:mapped", ...words]);
      assert.equal(code, 2);
      assert.match(err, says);
      if (words.includes("--json")) {
        assert.equal(out.trimEnd().split("\n").length, 1);
        assert.equal(JSON.parse(out).error.code, "usage");
      } else {
        assert.equal(out, "");
      }
    });
  }

  it("does not begin if the report cannot be written", async () => {
    const file = "/nonexistent/dirty.html";
    const { code, out, err } = await vfiokit(["dirty", "watch", BUSY, ...MAP, "--report", file]);
    assert.equal(code, 1);
    assert.equal(out, "");
    assert.match(err, /ENOENT/);
    assert.equal(existsSync(file), false);
  });
});
