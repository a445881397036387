import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

/** Pages 0 to 3 pinned, and nothing else. */
const PINNED = "sim:mapped?pin=4";
const MIB = ["--map", "0x100000:1MiB", "--after", "10ms"];

describe("`dirty get`", () => {
  it("prints the dirty ranges as IOVA:SIZE, and marks those that are pinned", async () => {
    const { code, out, err } = await vfiokit(["dirty", "get", PINNED, ...MIB]);
    assert.equal(code, 0, err);
    assert.equal(out, "0x100000:0x4000 pinned\n");
    assert.match(err, /^4 pages of 256 dirty after .* \(16\.0 KiB\), 4 of them pinned\.$/m);
  });

  it("prints what the device wrote, apart from what is pinned", async () => {
    const { out } = await vfiokit(
      ["dirty", "get", "sim:mapped?pin=4&dma=sequential:2000/s", ...MIB.slice(0, 2)],
    );
    const [first, second, ...others] = out.trim().split("\n");
    assert.equal(first, "0x100000:0x4000 pinned");
    assert.equal(second, "0x104000:0xfc000");
    assert.deepEqual(others, []);
  });

  it("prints one document, by --json and --format json", async () => {
    for (const how of [["--json"], ["--format", "json"]]) {
      const { code, out } = await vfiokit(["dirty", "get", PINNED, ...MIB, ...how, "-q"]);
      assert.equal(code, 0);
      const { seconds, ...document } = JSON.parse(out);
      assert.ok(seconds >= 0.01);
      assert.deepEqual(document, {
        schema: "vfiokit/dirty-get/1",
        device: PINNED,
        tracker: "type1",
        trackerReason: "The device has no log of its own DMA (DMA_LOGGING_START: ENOTTY)",
        pgsize: 4096,
        mappings: [["0x100000", 1048576]],
        pages: 4,
        bytes: 16384,
        pinnedPages: 4,
        runs: [["0x100000", 16384]],
        pinnedRuns: [["0x100000", 16384]],
        verdict: "tracks",
        notes: [],
      });
    }
  });

  it("writes the bits of each mapping as the kernel has them, to a file too", async () => {
    using folder = new Folder();
    const file = folder.file("bits");
    const maps = ["--map", "0x200000:68KiB", "--map", "0x100000:4KiB", "--after", "1ms"];
    const words = ["dirty", "get", PINNED, ...maps, "--format", "bitmap"];
    const [piped, filed] = await Promise.all([vfiokit(words), vfiokit([...words, "-o", file])]);
    assert.deepEqual([...piped.stdout], [1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
    assert.equal(filed.out, "");
    assert.deepEqual(new Uint8Array(readFileSync(file)), piped.stdout);
  });

  it("replaces no file but with --force, and asks before it opens the device", async () => {
    using folder = new Folder();
    const file = folder.file("pages");
    writeFileSync(file, "a checkpoint");
    const words = ["dirty", "get", PINNED, ...MIB, "-o", file];
    const none = ["dirty", "get", "0000:00:00.0", ...MIB, "-o", file];
    for (const line of [words, none]) {
      const { code, err } = await vfiokit(line);
      assert.equal(code, 1);
      assert.match(err, /Cannot create ".*pages": EEXIST[^]*hint: .*file replaced \(--force\)/);
      assert.equal(readFileSync(file, "utf8"), "a checkpoint");
    }
    const { code, err } = await vfiokit([...words, "--force", "--json"]);
    assert.equal(code, 0, err);
    assert.equal(JSON.parse(readFileSync(file, "utf8")).pages, 4);
    assert.deepEqual(readdirSync(dirname(file)), ["pages"]);
    assert.equal(statSync(file).mode & 0o777, 0o666 & ~process.umask());
  });

  it("leaves no file, and an old one untouched, if it fails", async () => {
    using folder = new Folder();
    const [fresh, old] = [folder.file("fresh"), folder.file("old")];
    writeFileSync(old, "a checkpoint");
    for (const file of [fresh, old]) {
      const words = ["dirty", "get", "sim:mapped?fault=no-dirty-capability", ...MIB, "-f"];
      assert.equal((await vfiokit([...words, "-o", file])).code, 3);
    }
    assert.deepEqual(readdirSync(dirname(old)), ["old"]);
    assert.equal(readFileSync(old, "utf8"), "a checkpoint");
  });

  it("writes to what is no regular file as it stands", async () => {
    using folder = new Folder();
    const fifo = folder.file("fifo");
    execFileSync("mkfifo", [fifo]);
    const words = ["dirty", "get", PINNED, ...MIB, "-o"];
    const [piped, out, nothing, full] = await Promise.all([
      Promise.all([vfiokit([...words, fifo]), readFile(fifo, "utf8")]),
      vfiokit([...words, "/dev/stdout"]),
      vfiokit([...words, "/dev/null"]),
      vfiokit([...words, "/dev/full", "--json"]),
    ]);
    assert.deepEqual([piped[0].code, piped[1]], [0, "0x100000:0x4000 pinned\n"]);
    assert.deepEqual([out.code, out.out], [0, "0x100000:0x4000 pinned\n"]);
    assert.deepEqual([nothing.code, nothing.out], [0, ""]);
    assert.equal(full.code, 1);
    // What was read is not lost with the file.
    const { pages, error } = JSON.parse(full.out);
    assert.deepEqual([pages, error.errno], [4, "ENOSPC"]);
  });

  it("says if an IOMMU does not track, and takes nothing for pinned then", async () => {
    const { out, err } = await vfiokit(["dirty", "get", "sim:mapped?iommu=all-dirty", ...MIB]);
    assert.equal(out, "0x100000:0x100000\n");
    assert.match(err, /^This IOMMU does not track: every page is dirty whenever it is read/m);
    assert.doesNotMatch(err, /pinned/);
  });

  it("takes all of a mapping for dirty that cannot be read, and says why", async () => {
    const last = ["--map", "0xfffffffffff00000:1MiB"];
    const { code, out, err } = await vfiokit(["dirty", "get", PINNED, ...last, "--after", "1ms"]);
    assert.equal(code, 0);
    assert.equal(out, "0xfffffffffff00000:0x100000\n");
    assert.match(err, /^Cannot read .*ends at 2\^64.*; all of its pages count as dirty$/m);
  });

  it("prints the same keys if it fails, null if nothing is known", async () => {
    const words = ["dirty", "get", "--json", ...MIB];
    const [good, usage, refused] = await Promise.all([
      vfiokit([...words, PINNED]),
      vfiokit([...words, PINNED, "--format", "bitmap"]),
      vfiokit([...words, "sim:mapped?fault=no-dirty-capability"]),
    ]);
    const keys = Object.keys(JSON.parse(good.out));
    for (const { out } of [usage, refused]) {
      const { schema, device, tracker, error, ...unknown } = JSON.parse(out);
      assert.deepEqual(["schema", "device", "tracker", ...Object.keys(unknown)], keys);
      assert.ok(schema && device && tracker && error);
      assert.ok(Object.values(unknown).every((value) => value === null));
    }
  });

  const wrong: readonly (readonly [string, readonly string[], number, RegExp])[] = [
    ["no memory", ["sim:mapped"], 2, /name some by --map IOVA:SIZE$/m],
    ["--mapping for a device of its own", ["sim:mapped", "--mapping", "0:4KiB"], 2, /borrowed/],
    ["two formats", ["sim:mapped", ...MIB, "--json", "--format", "bitmap"], 2, /both --json/],
    [
      "a program for what has no log",
      ["sim:mapped", ...MIB, "--", "true"],
      3,
      /served over a socket/,
    ],
    ["a program for a trace", ["replay:a", ...MIB, "--", "true"], 2, /Cannot lend "replay:a"/],
    ["ranges that overlap", ["sim:mapped", ...MIB, "--map", "0x1ff000:8KiB"], 2, /overlaps/],
    ["a range that is not aligned", ["sim:mapped", "--map", "0x100:4KiB"], 2, /whole pages/],
    [
      "too little memory to lock",
      [
        "sim:mapped?iommu=all-dirty&memlock=64KiB",
        ...MIB,
      ],
      1,
      /RLIMIT_MEMLOCK[^]*hint: .*ulimit -l/,
    ],
    ["a file that cannot be written", ["sim:mapped", ...MIB, "-o", "/nonexistent/f"], 1, /ENOENT/],
    ["a device that is not there", ["sim:nothing", ...MIB], 2, /Cannot simulate/],
  ];
  for (const [what, words, exitCode, says] of wrong) {
    it(`exits with ${exitCode} on ${what}`, async () => {
      const { code, out, err } = await vfiokit(["dirty", "get", ...words]);
      assert.equal(code, exitCode, err);
      if (words.includes("--json")) assert.equal(JSON.parse(out).error.code, "usage");
      else assert.equal(out, "");
      assert.match(err, says);
    });
  }
});

describe("`unmap`", () => {
  const words = ["unmap", PINNED, "--map", "0x100000:1MiB", "--map", "4GiB:1MiB", "--after", "1ms"];

  it("prints what was unmapped, its last dirty pages, and what is left", async () => {
    const { code, out } = await vfiokit(
      [...words, "--iova", "0x100000", "--size", "1MiB", "--with-dirty"],
    );
    assert.equal(code, 0);
    assert.equal(
      out,
      [
        "Unmapped 1.0 MiB in 0x100000-0x1fffff.",
        "Still mapped: 0x100000000:0x100000",
        "4 pages dirty (16.0 KiB):",
        "  0x100000:0x4000",
        "",
      ].join("\n"),
    );
  });

  it("prints one document with --json", async () => {
    const { out } = await vfiokit(
      [...words, "--iova", "0", "--size", "8GiB", "--with-dirty", "--json"],
    );
    const { schema, unmapped, mappingsLeft, pages, runs } = JSON.parse(out);
    assert.deepEqual(
      [schema, unmapped, mappingsLeft, pages, runs],
      ["vfiokit/unmap/1", 2097152, [], 4, [["0x100000", 16384]]],
    );
  });

  it("unmaps without looking at dirty pages, and says if nothing was mapped", async () => {
    const [some, none] = await Promise.all([
      vfiokit([...words, "--iova", "4GiB", "--size", "1MiB"]),
      vfiokit([...words, "--iova", "8GiB", "--size", "1MiB"]),
    ]);
    assert.equal(
      some.out,
      "Unmapped 1.0 MiB in 0x100000000-0x1000fffff.\nStill mapped: 0x100000:0x100000\n",
    );
    assert.match(
      none.out,
      /^Nothing is mapped in 0x200000000-0x2000fffff: nothing was unmapped\.$/m,
    );
  });

  it("does not know what was unmapped after a failure, and says so", async () => {
    const two = ["--map", "0:1MiB", "--map", "0x100000:1MiB", "--after", "1ms"];
    const line = ["unmap", "sim:mapped?fault=unmap:2:EIO", ...two, "--iova", "0", "--size", "2MiB"];
    const [text, json] = await Promise.all([vfiokit(line), vfiokit([...line, "--json"])]);
    assert.deepEqual([text.code, json.code], [1, 1]);
    assert.equal(
      text.out,
      "How much was unmapped in 0x0-0x1fffff is not known, nor what is left.\n",
    );
    const { unmapped, mappingsLeft, error } = JSON.parse(json.out);
    assert.deepEqual([unmapped, mappingsLeft, error.errno], [null, null, "EIO"]);
  });

  it("knows it with dirty pages, which it unmaps one mapping after the other", async () => {
    const line = (fault: string) => [
      ...["unmap", `sim:mapped?fault=unmap:${fault}`, "--map", "0:1MiB", "--map", "0x100000:1MiB"],
      ...["--iova", "0", "--size", "2MiB", "--with-dirty", "--after", "1ms"],
    ];
    const [first, second] = await Promise.all([
      vfiokit(line("1:EIO")),
      vfiokit([...line("2:EIO"), "--json"]),
    ]);
    assert.match(first.out, /^Nothing is known to be unmapped in 0x0-0x1fffff\.$/m);
    const { unmapped, mappingsLeft } = JSON.parse(second.out);
    assert.deepEqual([unmapped, mappingsLeft], [1 << 20, [["0x100000", 1 << 20]]]);
  });

  it("prints the same keys if it fails", async () => {
    const line = ["unmap", "--map", "0:1MiB", "--iova", "0", "--size", "1MiB", "--json"];
    const cases = [["unmap:1:EIO"], ["no-dirty-capability", "--with-dirty"]];
    for (const [fault, ...dirty] of cases) {
      const more = ["--after", "1ms", ...dirty];
      const [good, bad] = await Promise.all([
        vfiokit([...line, PINNED, ...more]),
        vfiokit([...line, `sim:mapped?fault=${fault}`, ...more]),
      ]);
      assert.ok(bad.code === 1 || bad.code === 3, bad.err);
      const keys = [...Object.keys(JSON.parse(good.out)), "error"];
      assert.deepEqual(Object.keys(JSON.parse(bad.out)).sort(), keys.sort());
    }
  });

  for (const dirty of [[], ["--with-dirty"]]) {
    it(`refuses to cut a mapping${dirty.length > 0 ? " with dirty pages" : ""}`, async () => {
      const { code, out, err } = await vfiokit(
        [...words, "--iova", "0x100000", "--size", "512KiB", "--json", ...dirty],
      );
      assert.ok(code === 1 || code === 2);
      const { unmapped, mappingsLeft } = JSON.parse(out);
      assert.deepEqual([unmapped, mappingsLeft.length], [0, 2]);
      assert.match(err, /the mapping 0x100000-0x1fffff would be cut/);
    });
  }
});
