/* The report's charts, in the reader's browser. uPlot is a global; the data of each memory is in #data. */

/** The charts share a cursor and a zoom. */
const SYNC = { key: "time", setSeries: false, scales: ["x", null] };
const POWERS_OF_2 = Array.from({ length: 62 }, (_, power) => 2 ** power);

/** Returns what draws the charts of one memory. */
function chartsOf({ name, cells: packed, columns, bands, bandPages, pages, pgsize, mappings }) {
  const cells = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  /** The time axis: the beginning, then the end of each column. */
  const times = [columns[0].start, ...columns.map(({ end }) => end)];

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  function bytes(count) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    const unit = Math.min(Math.floor(Math.log2(Math.max(count, 1)) / 10), units.length - 1);
    const value = count / 1024 ** unit;
    return `${Number(value.toPrecision(value < 1000 ? 3 : 4))} ${units[unit]}`;
  }

  function seconds(value) {
    return `${Number(value.toFixed(3))} s`;
  }

  function iovaOf(page) {
    const mapping = mappings.findLast(({ firstPage }) => firstPage <= page) ?? mappings[0];
    return BigInt(mapping.iova) + BigInt(page - mapping.firstPage) * BigInt(pgsize);
  }

  function hex(iova) {
    return `0x${iova.toString(16)}`;
  }

  /** The axes stand above each other: all are as wide as the longest IOVA needs. */
  function axisWidth() {
    const longest = hex(iovaOf(pages - 1)).length;
    return Math.max(64, 18 + Math.ceil(longest * 7.2));
  }

  function axis(options) {
    const stroke = colour("soft");
    const line = { stroke: colour("grid"), width: 1 };
    return { stroke, grid: line, ticks: line, font: "11px system-ui, sans-serif", ...options };
  }

  function timeAxis() {
    return axis({ values: (_chart, splits) => splits.map(seconds), size: 32, space: 64 });
  }

  function byteAxis(unit) {
    const values = (_chart, splits) => splits.map((value) => bytes(value) + unit);
    return axis({ incrs: POWERS_OF_2, values, size: axisWidth() });
  }

  function options(host, more) {
    return {
      width: host.clientWidth,
      height: host.clientWidth < 500 ? more.height * 0.85 : more.height,
      cursor: {
        sync: SYNC,
        y: more.pointsAtMemory === true,
        points: { show: false },
        drag: { x: true, y: false },
      },
      ...more.options,
      scales: { x: { time: false }, ...more.options.scales },
    };
  }

  function fromZero(_chart, _low, high) {
    return [0, high > 0 ? high * 1.08 : 1];
  }

  /** What a legend says where the cursor is. */
  function shown(unit) {
    return (_chart, value) => value === null ? "–" : bytes(value) + unit;
  }

  function drawRate(host) {
    const rates = columns.map(({ start, end, pages }) => pages * pgsize / (end - start));
    const series = {
      label: "dirty rate",
      stroke: colour("rate"),
      fill: `${colour("rate")}22`,
      width: 1.5,
      paths: uPlot.paths.stepped({ align: -1 }),
      points: { show: false },
      value: shown("/s"),
    };
    return new uPlot(
      options(host, {
        height: 220,
        options: {
          scales: { y: { range: fromZero } },
          axes: [timeAxis(), byteAxis("/s")],
          series: [
            { label: "time", value: (_chart, at) => at === null ? "–" : seconds(at) },
            series,
          ],
        },
      }),
      [times, [rates[0], ...rates]],
      host,
    );
  }

  function drawWorkingSet(host) {
    const line = (label, name) => ({
      label,
      stroke: colour(name),
      width: 1.5,
      points: { show: false },
      value: shown(""),
    });
    const sizes = columns.map(({ distinctPages }) => distinctPages * pgsize);
    const pinned = columns.map(({ pinnedPages }) =>
      pinnedPages === null ? null : pinnedPages * pgsize
    );
    const hasPinned = pinned.some((size) => size > 0);
    return new uPlot(
      options(host, {
        height: 220,
        options: {
          scales: { y: { range: fromZero } },
          axes: [timeAxis(), byteAxis("")],
          series: [
            { label: "time", value: (_chart, at) => at === null ? "–" : seconds(at) },
            { ...line("working set", "set"), fill: `${colour("set")}22` },
            ...(hasPinned ? [line("pinned", "pinned")] : []),
          ],
        },
      }),
      [times, [0, ...sizes], ...(hasPinned ? [[null, ...pinned]] : [])],
      host,
    );
  }

  /** 256 colours from clean to dirty. */
  function palette() {
    const stops = [1, 2, 3, 4].map((stop) =>
      [1, 3, 5].map((at) => Number.parseInt(colour(`heat-${stop}`).slice(at, at + 2), 16))
    );
    return Array.from({ length: 256 }, (_, level) => {
      const at = level / 255 * (stops.length - 1);
      const from = Math.min(Math.floor(at), stops.length - 2);
      return stops[from].map((part, i) =>
        Math.round(part + (stops[from + 1][i] - part) * (at - from))
      );
    });
  }

  /** A picture of one pixel a column and band; the first band is at the bottom. */
  function picture() {
    const canvas = document.createElement("canvas");
    canvas.width = columns.length;
    canvas.height = bands;
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns.length, bands);
    const colours = palette();
    for (let column = 0; column < columns.length; column++) {
      for (let band = 0; band < bands; band++) {
        const level = cells[column * bands + band];
        if (level === 0) continue;
        const [red, green, blue] = colours[level];
        const at = 4 * ((bands - 1 - band) * columns.length + column);
        image.data.set([red, green, blue, 255], at);
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  /** Where the IOVA axis has its marks: where mappings begin, and round addresses in between. */
  function iovaMarks(chart) {
    const room = 26 * devicePixelRatio;
    const perPage = chart.bbox.height / pages;
    const marks = mappings.map(({ firstPage }) => firstPage).filter((page, index, all) =>
      index === 0 || (page - all[index - 1]) * perPage >= room
    );
    const step = BigInt(POWERS_OF_2.find((step) => step / pgsize * perPage >= room) ?? pgsize);
    for (const { iova, bytes: size, firstPage } of mappings) {
      const start = BigInt(iova);
      for (let at = (start / step + 1n) * step; at < start + BigInt(size); at += step) {
        const page = firstPage + Number((at - start) / BigInt(pgsize));
        if (marks.every((mark) => Math.abs(mark - page) * perPage >= room)) marks.push(page);
      }
    }
    return marks.sort((a, b) => a - b);
  }

  function paint(chart, image) {
    const { left, top, width, height } = chart.bbox;
    const { ctx } = chart;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    ctx.fillStyle = colour("heat-0");
    ctx.fillRect(left, top, width, height);
    ctx.imageSmoothingEnabled = false;
    for (const [index, { start, end }] of columns.entries()) {
      const from = Math.round(chart.valToPos(start, "x", true));
      const to = Math.max(from + 1, Math.round(chart.valToPos(end, "x", true)));
      const below = Math.round(chart.valToPos(0, "y", true));
      const above = Math.round(chart.valToPos(bands * bandPages, "y", true));
      ctx.drawImage(image, index, 0, 1, bands, from, above, to - from, below - above);
    }
    ctx.fillStyle = colour("soft");
    for (const { firstPage } of mappings.slice(1)) {
      ctx.fillRect(left, Math.round(chart.valToPos(firstPage, "y", true)), width, 1);
    }
    ctx.strokeStyle = colour("line");
    ctx.strokeRect(left, top, width, height);
    ctx.restore();
  }

  function readout(chart) {
    const { left, top } = chart.cursor;
    const at = left >= 0 ? chart.posToVal(left, "x") : Number.NaN;
    const column = columns.findIndex(({ start, end }) => at >= start && at < end);
    const page = Math.floor(chart.posToVal(top, "y"));
    if (column < 0 || top < 0 || page < 0 || page >= pages) return "";
    const band = Math.floor(page / bandPages);
    const inBand = Math.min(bandPages, pages - band * bandPages);
    const dirty = (1 + inBand) ** (cells[column * bands + band] / 255) - 1;
    const first = iovaOf(band * bandPages);
    const about = cells[column * bands + band] === 0 || inBand === 1 ? "" : "about ";
    return `${seconds(at)}, from ${hex(first)}: ${about}${Number(dirty.toPrecision(2))} of ` +
      `${inBand} page${inBand === 1 ? "" : "s"} dirty in a round`;
  }

  function drawHeatmap(host) {
    const image = picture();
    const words = document.getElementById(`readout${name}`);
    const plain = words.dataset.plain;
    return new uPlot(
      options(host, {
        height: 420,
        pointsAtMemory: true,
        options: {
          legend: { show: false },
          scales: { y: { range: [0, pages] } },
          axes: [
            { ...timeAxis(), grid: { show: false } },
            axis({
              splits: iovaMarks,
              values: (_chart, splits) => splits.map((page) => hex(iovaOf(page))),
              grid: { show: false },
              size: axisWidth(),
            }),
          ],
          series: [{}, { show: true, stroke: "transparent", points: { show: false } }],
          hooks: {
            draw: [(chart) => paint(chart, image)],
            setCursor: [(chart) => {
              words.textContent = readout(chart) || plain;
            }],
          },
        },
      }),
      [times, times.map(() => null)],
      host,
    );
  }

  const charts = { heatmap: drawHeatmap, rate: drawRate, set: drawWorkingSet };
  return () =>
    Object.entries(charts).map(([id, draw]) => draw(document.getElementById(`${id}${name}`)));
}

const memories = JSON.parse(document.querySelector("#data").textContent).map(chartsOf);
let drawn = [];

function drawAll() {
  for (const chart of drawn) chart.destroy();
  drawn = memories.flatMap((draw) => draw());
}

drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

let width = document.body.clientWidth;
addEventListener("resize", () => {
  if (document.body.clientWidth === width) return;
  width = document.body.clientWidth;
  drawAll();
});
