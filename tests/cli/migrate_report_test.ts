import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { MemoryMap } from "../../cli/dirty/memory_map.ts";
import { WatchRounds } from "../../cli/dirty/rounds.ts";
import { migrationPage, type MovedSubject } from "../../cli/report/migration_page.ts";
import { migrate } from "../../cli/specs/migrate/migrate.ts";
import { DirtyBitmap, DirtyReading } from "../../src/dirty/mod.ts";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { receiving } from "./_receiving.ts";

/** What the page does not show of a round. */
const ROUND = { sending: 0.1, looked: 0, looking: 0 };
const MIB = 2 ** 20;
const MEMORY = { iova: 0x100000n, size: 0x400000n };

/** Two rounds in which the same 256 pages of 1024 are dirty. */
function readings(): MovedSubject["memory"][number] {
  const map = new MemoryMap([MEMORY], 4096);
  const rounds = new WatchRounds(map);
  const read = (time: number): ReturnType<WatchRounds["add"]> => {
    const bits = new Uint8Array(128).fill(0xff, 0, 32);
    const bitmap = DirtyBitmap.over({ ...MEMORY, pgsize: 4096 }, bits);
    const reading = new DirtyReading([{ bitmap, pinned: null, lost: null }], "tracks");
    return rounds.add(reading, time);
  };
  return { device: "sim:<b>", map, rounds: [read(1), read(2)] };
}

const SUBJECT: MovedSubject = {
  to: "unix:/run/<socket>",
  started: new Date("2026-01-02T03:04:05.6Z"),
  tool: "vfiokit 1",
  allowedMs: 300,
  maxRounds: 30,
  memory: [readings()],
  last: {
    phase: "done",
    id: "0123456789abcdef0123456789abcdef",
    rounds: [
      { ...ROUND, sent: 4 * MIB, seconds: 1, dirtied: MIB, left: 1.5 * MIB },
      { ...ROUND, sent: 1.5 * MIB, seconds: 0.375, dirtied: MIB, left: MIB },
    ],
    bytes: { memory: 5 * MIB, zero: MIB, same: 0, device: MIB },
    sent: 6 * MIB,
    left: 0,
    step: null,
    bandwidth: 4 * MIB,
    expectedDowntimeMs: 250,
    warnings: ["<warned>"],
    unansweredMs: 0,
  },
  report: null,
  failure: null,
};

/** The cells of the rows of a table. */
function rowsOf(html: string, heading: string): string[][] {
  const [, section] = new RegExp(`<h2>${heading}</h2>(.*?)</section>`, "s").exec(html) ?? [];
  return [...section!.matchAll(/<tr><td.*?<\/tr>/gs)].map(([row]) =>
    [...row.matchAll(/<td[^>]*>(.*?)<\/td>/gs)].map(([, cell]) => cell!)
  );
}

describe("the page of a migration", () => {
  it("has the rounds with the forecast's beside them, and the two compared", () => {
    const html = migrationPage(SUBJECT);
    assert.deepEqual(rowsOf(html, "Rounds"), [
      ["1", "4.0 MiB", "1.00 s", "4.0 MiB/s", "1.0 MiB", "1.0 MiB", "1.5 MiB"],
      ["2", "1.5 MiB", "375.0 ms", "4.0 MiB/s", "1.0 MiB", "-", "1.0 MiB"],
    ]);
    const [forecast, expected] = rowsOf(html, "Forecast and migration");
    assert.deepEqual(forecast, ["forecast", "yes", "1", "1.00 s", "250.0 ms", "250.0 ms"]);
    assert.deepEqual(expected!.slice(1), ["yes", "2", "1.38 s", "-", "250.0 ms"]);
    assert.match(html, /<div class="chart" id="heatmap-0"/);
    assert.match(html, /Migration of sim:&lt;b&gt;/);
    assert.match(html, /To unix:\/run\/&lt;socket&gt;, from 2026-01-02 03:04:05 UTC on/);
    assert.match(html, /<li>&lt;warned&gt;<\/li>/);
    assert.doesNotMatch(html, /<b>|<warned>|<socket>/);
  });

  it("says why it failed, and does without a tracker and without a round", () => {
    const untracked = [{ device: "sim:a", map: null, rounds: [] }];
    const last = { ...SUBJECT.last, rounds: [], expectedDowntimeMs: null };
    const html = migrationPage({ ...SUBJECT, memory: untracked, last, failure: "It <broke>" });
    assert.match(html, /<li>It failed: It &lt;broke&gt;<\/li>/);
    assert.match(html, /No round was finished/);
    assert.match(html, /There is no forecast/);
    assert.match(html, /script-src ;/);
    assert.doesNotMatch(html, /<script type="module"/);
  });

  it("counts the memory of several devices one behind the other in its forecast", () => {
    const two = [readings(), readings()];
    const [forecast] = rowsOf(migrationPage({ ...SUBJECT, memory: two }), "Forecast and migration");
    // 8 MiB, of which 2 MiB become dirty: 2 s, then 500 ms, which are more than 300.
    assert.deepEqual(forecast!.slice(1, 3), ["no", "2"]);
  });
});

describe("migrate --report", () => {
  const { permissions } = migrate;
  const DEVICE = "sim:mlx5?size=64KiB&dma=random:500/s";

  it("writes the page of a migration, also of one that does not converge", async () => {
    using folder = new Folder();
    const journal = ["--journal", folder.file("journal")];
    const map = ["--map", "0x100000:256KiB", ...journal];
    const [socket, file] = [folder.file("socket"), folder.file("a.html")];
    const there = ["sim:mlx5?size=64KiB", "--listen", `unix:${socket}`, ...journal];
    await receiving(there, async (address) => {
      const words = [
        "migrate",
        "sim:mlx5?size=64KiB",
        ...map,
        "--to",
        address,
        "--tracker",
        "none",
      ];
      const hopeless = ["--downtime", "0ms", "--max-rounds", "2", "--report", file];
      const { code, err } = await vfiokit([...words, ...hopeless], { permissions });
      assert.equal(code, 1);
      assert.match(err, /The report is in .*a\.html/);
      const html = readFileSync(file, "utf8");
      assert.match(html, /It failed: .*does not converge/);
      assert.equal(rowsOf(html, "Rounds").length, 2);
    });
    await receiving(there, async (address) => {
      const words = ["migrate", DEVICE, ...map, "--to", address, "--report", file];
      const there = await vfiokit(words, { permissions });
      assert.equal(there.code, 1);
      assert.match(there.err, /EEXIST|exists/);
      const { code, err } = await vfiokit([...words, "-f", "--downtime", "10min", "--json"], {
        permissions,
      });
      assert.equal(code, 0, err);
      const html = readFileSync(file, "utf8");
      assert.deepEqual(rowsOf(html, "Downtime").map(([step]) => step), [
        ...["stop", "memory", "device data", "commit"],
      ]);
      assert.match(html, /id="heatmap-0"/);
      assert.equal(rowsOf(html, "Forecast and migration").at(-1)![0], "migration");
    });
  });

  it("leaves none of a migration that has not begun", async () => {
    using folder = new Folder();
    const file = folder.file("a.html");
    const words = ["migrate", "sim:mlx5", "--map", "0:4KiB", "--journal", folder.file("journal")];
    const to = ["--to", `unix:${folder.file("nobody")}`, "--report", file];
    assert.equal((await vfiokit([...words, ...to], { permissions })).code, 1);
    assert.equal(existsSync(file), false);
    writeFileSync(file, "mine");
    const { code, err } = await vfiokit([...words, ...to], { permissions });
    assert.equal(code, 1, err);
    assert.equal(readFileSync(file, "utf8"), "mine");
  });
});
