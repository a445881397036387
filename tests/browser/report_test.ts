import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { projectFile } from "../cli/_cli.ts";
import { Page, type View, whyNoBrowser } from "./_chromium.ts";
import { writeReport } from "./_report_file.ts";

const skip = whyNoBrowser() ?? false;

const WIDE: View = { width: 1200, height: 900, scheme: "light" };
const PHONE: View = { width: 390, height: 844, scheme: "light", mobile: true };

/** Opaque colours on each canvas, each with its number of pixels. */
const COLOURS = `[...document.querySelectorAll("canvas")].map((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const counts = {};
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] !== 255) continue;
    const colour = "rgb(" + [...data.subarray(at, at + 3)].join(", ") + ")";
    counts[colour] = (counts[colour] ?? 0) + 1;
  }
  return counts;
})`;

type Colours = readonly Readonly<Record<string, number>>[];

describe("the report in a browser", { skip }, () => {
  let folder = "";
  let file = "";

  before(() => {
    folder = mkdtempSync(join(tmpdir(), "vfiokit-report-"));
    file = join(folder, "report.html");
    writeReport(file);
  });

  after(() => rmSync(folder, { recursive: true }));

  it("draws a heatmap, the dirty rate and the working set, and complains of nothing", async () => {
    await using page = await Page.open(file, WIDE);
    const [heatmap, rate, set, ...others] = await page.evaluate<Colours>(COLOURS);
    assert.deepEqual(others, []);
    assert.ok(Object.keys(heatmap!).length > 20, "the heatmap has shades");
    assert.ok((heatmap!["rgb(8, 38, 77)"] ?? 0) > 1000, "its darkest shade: all of a cell's pages");
    assert.ok((rate!["rgb(11, 98, 184)"] ?? 0) > 500, "the line of the rate");
    assert.ok((set!["rgb(15, 123, 98)"] ?? 0) > 100, "the line of the working set");
    assert.deepEqual(page.complaints, []);
    assert.deepEqual(page.requests, [`file://${file}`]);
  });

  it("has other colours if the reader prefers dark, at once", async () => {
    await using page = await Page.open(file, WIDE);
    const background = "getComputedStyle(document.body).backgroundColor";
    const light = await page.evaluate(background);
    await page.look({ ...WIDE, scheme: "dark" });
    assert.notEqual(await page.evaluate(background), light);
    const [heatmap, rate] = await page.evaluate<Colours>(COLOURS);
    assert.equal(heatmap!["rgb(8, 38, 77)"], undefined);
    assert.ok((heatmap!["rgb(242, 250, 255)"] ?? 0) > 1000);
    assert.ok((rate!["rgb(99, 176, 245)"] ?? 0) > 500);
    assert.deepEqual(page.complaints, []);
  });

  for (const scheme of ["light", "dark"] as const) {
    it(`fits a phone, ${scheme}: nothing is scrolled sideways but wide tables in themselves`, async () => {
      await using page = await Page.open(file, { ...PHONE, scheme });
      const widths = await page.evaluate<number[]>(
        "[document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]",
      );
      assert.deepEqual(widths, [390, 390, 390]);
      const canvases = await page.evaluate<number[]>(
        '[...document.querySelectorAll("canvas")].map((it) => it.getBoundingClientRect().right)',
      );
      for (const right of canvases) assert.ok(right > 300 && right <= 390, String(right));
      assert.deepEqual(page.complaints, []);
    });
  }

  for (const scheme of ["light", "dark"] as const) {
    it(`fits 360, 800 and 1400 pixels, ${scheme}, tables too`, async () => {
      await using page = await Page.open(file, { ...PHONE, scheme });
      for (const width of [360, 800, 1400]) {
        await page.look({ width, height: 900, scheme, mobile: width === 360 });
        const wide = await page.evaluate<string[]>(
          '[document.documentElement, ...document.querySelectorAll(".wide, .chart")]' +
            ".filter((it) => it.scrollWidth > it.clientWidth)" +
            ".map((it) => `${it.tagName} ${it.id}: ${it.scrollWidth} in ${it.clientWidth}`)",
        );
        assert.deepEqual(wide, [], `${width} pixels`);
        const hidden = await page.evaluate<number>(
          '[...document.querySelectorAll(".wide td")].filter((it) => it.getBoundingClientRect().right > innerWidth).length',
        );
        assert.equal(hidden, 0);
      }
      assert.deepEqual(page.complaints, []);
    });
  }

  it("is drawn anew if its width changes", async () => {
    await using page = await Page.open(file, WIDE);
    const width = "document.querySelector('canvas').getBoundingClientRect().width";
    const wide = await page.evaluate<number>(width);
    await page.look({ ...WIDE, width: 700 });
    const narrow = await page.evaluate<number>(width);
    assert.ok(narrow < wide && narrow <= 700, `${wide}, then ${narrow}`);
  });

  it("shows time, address and pages of the cell under the pointer, in all charts", async () => {
    await using page = await Page.open(file, WIDE);
    const readout = "document.querySelector('#readout').textContent";
    assert.match(await page.evaluate(readout), /^Each cell is 1\.2 MiB of memory\./);
    const [x, y] = await page.evaluate<[number, number]>(
      "(({ left, top, width, height }) => [left + width / 2, top + height - 20])" +
        "(document.querySelector('#heatmap .u-over').getBoundingClientRect())",
    );
    await page.point(x, y);
    assert.match(
      await page.evaluate(readout),
      /^(?:3\.9|4)\d* s, from 0x[0-9a-f]+: (?:about )?\d+ of 308 pages dirty in a round$/,
    );
    const legends = await page.evaluate<string[]>(
      '[...document.querySelectorAll(".u-legend")].map((it) => it.innerText)',
    );
    assert.match(legends[0]!, /dirty rate:?\s*138 MiB\/s/);
    assert.match(legends[1]!, /working set:?\s*[\d.]+ MiB/);
    assert.match(legends[1]!, /pinned:?\s*32 KiB/);
  });

  it("can be pictured, as for the documentation", async () => {
    await using page = await Page.open(file, WIDE);
    const png = await page.screenshot();
    assert.deepEqual([...png.subarray(0, 8)], [137, 80, 78, 71, 13, 10, 26, 10]);
    const shown = statSync(projectFile("docs/dirty-report.png")).size;
    assert.ok(png.length > shown / 2 && png.length < shown * 2, `${png.length}, docs: ${shown}`);
  });
});
