import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { MemoryMap } from "../../cli/dirty/memory_map.ts";
import type { Sample } from "../../cli/dirty/samples.ts";
import { Heat } from "../../cli/report/_hot_ranges.ts";
import { escape, jsonFor } from "../../cli/report/html.ts";
import { Timeline } from "../../cli/report/_timeline.ts";
import { Report, type ReportSubject } from "../../cli/report/dirty_report.ts";
import { MAP, MAPPINGS, sampleRounds } from "./_sample_rounds.ts";

const SUBJECT: ReportSubject = {
  device: "0000:3b:00.1",
  tracker: "type1",
  started: new Date("2026-01-02T03:04:05.678Z"),
  tool: "vfiokit 1.2.3",
};

function reportOf(samples: readonly Sample[], subject = SUBJECT): string {
  const report = new Report(MAP);
  for (const sample of samples) report.add(sample, MAP.numbered(sample.runs));
  return report.html(subject);
}

describe("the report", () => {
  it("says which tracker read the pages", () => {
    const samples = sampleRounds({ rounds: 1 });
    assert.match(reportOf(samples), /As the type1 IOMMU tracked them from 2026-01-02/);
    const own = reportOf(samples, { ...SUBJECT, tracker: "device" });
    assert.match(own, /As the device's own log tracked them from 2026-01-02/);
    const iommu = reportOf(samples, { ...SUBJECT, tracker: "iommufd" });
    assert.match(iommu, /As the IOMMU's page table tracked them from 2026-01-02/);
  });

  it("never has more pages of a range a round than there are", () => {
    const pages = 16_384;
    const memory = { iova: 0n, size: BigInt(pages) * 4096n };
    const map = new MemoryMap([memory], 4096);
    const report = new Report(map);
    const [sample] = sampleRounds({ rounds: 1 });
    report.add({ ...sample!, pages }, map.numbered([memory]));
    assert.match(report.html(SUBJECT), />16384 of 16384</);
  });
});

describe("the report's timeline", () => {
  it("has a column a round, with its pages by band", () => {
    const timeline = new Timeline(MAP);
    const samples = sampleRounds({ rounds: 10 });
    for (const sample of samples) timeline.add(sample, MAP.numbered(sample.runs));
    assert.equal(timeline.columns.length, 10);
    for (const [index, { pages, bands, rounds }] of timeline.columns.entries()) {
      assert.equal(rounds, 1);
      assert.equal(pages, samples[index]!.pages);
      assert.equal(bands.reduce((sum, dirty) => sum + dirty, 0), pages);
    }
  });

  it("adds rounds up if there are too many, and loses none", () => {
    const timeline = new Timeline(MAP);
    const [sample] = sampleRounds({ rounds: 1 });
    const rounds = 5000;
    for (let round = 1; round <= rounds; round++) {
      const at = { ...sample!, round, time: round, seconds: 1, distinctPages: round };
      timeline.add(at, (add) => add(round % 7, 1));
    }
    const { columns } = timeline;
    assert.ok(columns.length <= 720, String(columns.length));
    assert.equal(columns.reduce((sum, column) => sum + column.rounds, 0), rounds);
    assert.equal(columns.reduce((sum, column) => sum + column.pages, 0), rounds * sample!.pages);
    assert.equal(columns.reduce((sum, column) => sum + column.bands[0]!, 0), rounds);
    assert.deepEqual([columns[0]!.start, columns.at(-1)!.end], [0, rounds]);
    assert.equal(columns.at(-1)!.distinctPages, rounds);
    for (const [index, { start }] of columns.entries()) {
      assert.equal(start, columns[index - 1]?.end ?? 0);
    }
  });
});

describe("the hot ranges", () => {
  /** A round of runs, by page numbers. */
  function heatOf(map: MemoryMap, ...rounds: readonly (readonly [number, number])[][]): Heat {
    const heat = new Heat(map);
    for (const runs of rounds) heat.add((add) => runs.forEach(([page, pages]) => add(page, pages)));
    return heat;
  }

  it("are the ranges by their share of all dirty pages", () => {
    const heat = heatOf(MAP, [[0, 10], [1000, 1]], [[0, 10]], [[0, 10]], [[0, 10]]);
    assert.deepEqual(heat.hottest(9), [
      { iova: 0x100000n, size: 40960n, pages: 10, pagesPerRound: 10, share: 40 / 41 },
      { iova: 0x4e8000n, size: 4096n, pages: 1, pagesPerRound: 0.25, share: 1 / 41 },
    ]);
    assert.equal(heat.hottest(1).length, 1);
  });

  it("keep what is dirty often apart from what is not, side by side", () => {
    const heat = heatOf(MAP, [[0, 20]], [[0, 10]], [[0, 10]]);
    assert.deepEqual(heat.hottest(9).map(({ pages }) => pages), [10, 10]);
  });

  it("bridge small gaps, and never a gap between mappings", () => {
    const end = Number(MAPPINGS[0]!.size) / 4096;
    const heat = heatOf(MAP, [[0, 1], [60, 1], [200, 1], [end - 1, 2]]);
    assert.deepEqual(heat.hottest(9).map(({ iova, pages }) => [iova, pages]), [
      [0x100000n, 61],
      [0x1c8000n, 1],
      [0x40ff000n, 1],
      [0x100000000n, 1],
    ]);
  });

  it("are found in memory that has more pages than are counted one by one", () => {
    const map = new MemoryMap([{ iova: 0n, size: 1n << 40n }], 4096);
    const [hot] = heatOf(map, [[1 << 20, 512]], [[1 << 20, 512]]).hottest(1);
    assert.deepEqual([hot!.iova, hot!.pagesPerRound, hot!.share], [1n << 32n, 512, 1]);
  });
});

describe("the report", () => {
  it("is one page that names no other, and forbids all others", () => {
    const html = reportOf(sampleRounds({ rounds: 3 }));
    assert.doesNotMatch(html, /(?:src|href|url|import)\s*[=(]\s*["']?(?!data:,)[a-z]*:?\/\//i);
    const policy = /Content-Security-Policy" content="([^"]+)"/.exec(html)![1]!;
    assert.match(policy, /^default-src 'none'; /);
    assert.doesNotMatch(policy, /unsafe|https?:|\*/);
    const scripts = [...html.matchAll(/<script(?: type="module")?>([^]*?)<\/script>/g)];
    const styles = [...html.matchAll(/<style>([^]*?)<\/style>/g)];
    assert.deepEqual([scripts.length, styles.length], [2, 1]);
    for (const [, text] of [...scripts, ...styles]) {
      const hash = createHash("sha256").update(text!).digest("base64");
      assert.ok(policy.includes(`'sha256-${hash}'`));
    }
  });

  it("says what was measured without any script", () => {
    const html = reportOf(sampleRounds(), { ...SUBJECT, command: ["./load.sh", "--fast"] });
    for (
      const text of [
        "Dirty pages of 0000:3b:00.1",
        "from 2026-01-02 03:04:05 UTC on, while this ran: ./load.sh --fast",
        "192.0 MiB",
        "80 rounds",
        "0x500000-<wbr>0x5fffff",
        "0x100000000-<wbr>0x107ffffff",
        "8 pages",
        "Written by vfiokit 1.2.3",
      ]
    ) assert.ok(html.includes(text), text);
  });

  it("shows each note once", () => {
    const html = reportOf(sampleRounds({ rounds: 5, notes: ["This IOMMU does not track"] }));
    assert.equal(html.split("This IOMMU does not track").length, 2);
  });

  it("says that there is nothing if no round was finished", () => {
    const html = reportOf([]);
    assert.match(html, /No round was finished/);
    assert.doesNotMatch(html, /<script>|NaN|undefined/);
  });

  it("takes the device's name and the program for text", () => {
    const evil = `<img src=x onerror="alert(1)">&`;
    const html = reportOf(sampleRounds({ rounds: 1 }), {
      ...SUBJECT,
      device: evil,
      command: ["</script><b>"],
    });
    assert.doesNotMatch(html, /<img|<b>/);
    assert.equal(escape(evil), "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;");
    assert.doesNotMatch(jsonFor({ text: "</script>" }), /</);
  });
});
