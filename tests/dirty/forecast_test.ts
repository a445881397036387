import fc from "fast-check";
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { WorkingSetCurve } from "../../src/dirty/_working_set_curve.ts";
import type { DirtyRun } from "../../src/dirty/bitmap/bitmap.ts";
import {
  type Forecast,
  forecast,
  type ForecastOptions,
  type MeasuredRound,
} from "../../src/dirty/forecast.ts";

const PAGE = 4096;
const PAGES = 4096;
const MEMORY = PAGES * PAGE;

function run(first: number, pages: number): DirtyRun {
  return { iova: BigInt(first * PAGE), size: BigInt(pages * PAGE) };
}

function round(seconds: number, ...runs: DirtyRun[]): MeasuredRound {
  const pages = runs.reduce((sum, { size }) => sum + Number(size) / PAGE, 0);
  return { seconds, pages, runs };
}

/** The same pages in every round. */
const HOT: readonly MeasuredRound[] = Array.from({ length: 16 }, () => round(0.1, run(100, 64)));
/** Other pages in every round. */
const MOVING: readonly MeasuredRound[] = Array.from(
  { length: 16 },
  (_, index) => round(0.1, run(index * 64, 64)),
);

function go(measured: readonly MeasuredRound[], options: Partial<ForecastOptions> = {}): Forecast {
  return forecast(measured, {
    memory: MEMORY,
    pgsize: PAGE,
    bandwidth: MEMORY,
    downtime: 0.1,
    ...options,
  });
}

describe("the curve of the dirty pages", () => {
  it("counts what is dirtied twice once", () => {
    const curve = new WorkingSetCurve(HOT, PAGE, PAGES);
    for (const seconds of [0.001, 0.1, 0.7, 1.6, 100]) {
      assert.equal(Math.round(curve.pages(seconds)), 64);
    }
  });

  it("goes on with its slope to both sides, up to all pages", () => {
    const curve = new WorkingSetCurve(MOVING, PAGE, PAGES);
    const pages = [0.01, 0.05, 0.1, 0.4, 1.6, 3.2, 1000].map((at) => Math.round(curve.pages(at)));
    assert.deepEqual(pages, [6, 32, 64, 256, 1024, 2048, PAGES]);
  });

  it("takes the busiest window of each length", () => {
    const idle = round(0.1);
    const curve = new WorkingSetCurve([idle, idle, round(0.1, run(0, 8)), idle], PAGE, PAGES);
    assert.equal(curve.pages(0.1), 8);
    assert.equal(curve.pages(0.2), 8);
  });

  it("assumes that pages which are not known are new ones", () => {
    const unknown = HOT.map((measured) => ({ ...measured, runs: null }));
    assert.equal(Math.round(new WorkingSetCurve(unknown, PAGE, PAGES).pages(0.8)), 512);
    assert.equal(Math.round(new WorkingSetCurve(unknown, PAGE, 300).pages(0.8)), 300);
  });

  it("is the safe guess on both sides of one window alone", () => {
    const curve = new WorkingSetCurve([round(0.1, run(0, 10))], PAGE, PAGES);
    assert.deepEqual([0.05, 0.1, 0.2].map((at) => curve.pages(at)), [10, 10, 20]);
  });

  it("never falls, and is what a set of pages counts, whatever was measured", () => {
    const runs = fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 1, max: 9 })), { maxLength: 6 });
    fc.assert(fc.property(fc.array(runs, { minLength: 1, maxLength: 16 }), (rounds) => {
      const sets = rounds.map((runs) => pagesOf(runs));
      const curve = new WorkingSetCurve(
        sets.map((pages) => round(1, ...runsOf(pages))),
        PAGE,
        PAGES,
      );
      for (let length = 1; length <= rounds.length; length *= 2) {
        const aligned = sets.flatMap((_, at) => {
          const window = sets.slice(at, at + length);
          return at % length === 0 && window.length === length ? [window] : [];
        });
        const counts = aligned.map((window) => new Set(window.flatMap((pages) => [...pages])).size);
        const points = curve.pages(length);
        assert.ok(points >= Math.max(...counts) - 1e-6, `${points}, ${counts}`);
      }
      let before = 0;
      for (let seconds = 0.1; seconds < 40; seconds *= 1.3) {
        const pages = curve.pages(seconds);
        assert.ok(pages >= before - 1e-9 && pages <= PAGES);
        before = pages;
      }
    }));
  });
});

function pagesOf(runs: readonly (readonly [first: number, pages: number])[]): Set<number> {
  return new Set(
    runs.flatMap(([first, pages]) => Array.from({ length: pages }, (_, i) => first + i)),
  );
}

function runsOf(pages: ReadonlySet<number>): DirtyRun[] {
  return [...pages].sort((a, b) => a - b).map((page) => run(page, 1));
}

describe("forecast()", () => {
  it("sends all memory first, then what was dirtied in the last round, until the rest fits", () => {
    // 16 MiB/s: a second for all, 640 pages (2.5 MiB) dirtied, and so on by 640 / 4096.
    const { converges, rounds, seconds, downtime } = go(MOVING, { downtime: 0.03 });
    assert.equal(converges, true);
    assert.deepEqual(rounds.map(({ bytes }) => bytes / PAGE), [4096, 640]);
    assert.equal(rounds[0]!.seconds, 1);
    assert.equal(rounds[1]!.dirtied / PAGE, 100);
    assert.equal(downtime, 100 / 4096);
    assert.equal(seconds, 1 + 640 / 4096);
  });

  it("needs no round if all memory fits into the downtime", () => {
    const { converges, rounds, downtime } = go(MOVING, { downtime: 1 });
    assert.deepEqual([converges, rounds.length, downtime], [true, 0, 1]);
  });

  it("does not converge if a hot set is larger than what fits, and says which bandwidth would do", () => {
    const { converges, downtime, requiredBandwidth } = go(HOT, { downtime: 0.01 });
    assert.equal(converges, false);
    assert.equal(downtime, 64 / 4096);
    const exact = 64 * PAGE / 0.01;
    assert.ok(requiredBandwidth >= exact && requiredBandwidth < exact * 1.01);
  });

  it("does not converge if pages are dirtied as fast as they are sent", () => {
    const { converges, rounds } = go(MOVING, { bandwidth: 640 * PAGE, downtime: 0.001 });
    assert.equal(converges, false);
    assert.ok(rounds.length < 30);
  });

  it("never converges but by sheer bandwidth if every page is always dirty", () => {
    const all = Array.from({ length: 4 }, () => round(0.1, run(0, PAGES)));
    const { converges, rounds, requiredBandwidth } = go(all);
    assert.equal(converges, false);
    assert.equal(rounds.length, 1);
    assert.equal(requiredBandwidth, MEMORY / 0.1);
  });

  it("converges at any bandwidth if nothing is dirtied", () => {
    const { converges, rounds, downtime, requiredBandwidth } = go([round(1)], { bandwidth: 1 });
    assert.deepEqual([converges, rounds.length, downtime, requiredBandwidth], [true, 1, 0, 0]);
  });

  it("does not use more rounds than it may", () => {
    const slow = { bandwidth: 700 * PAGE, downtime: 0.0001 };
    assert.equal(go(MOVING, slow).rounds.length, 30);
    assert.equal(go(MOVING, { ...slow, maxRounds: 3 }).rounds.length, 3);
  });

  it("converges from the required bandwidth on, and not much below it", () => {
    const measured = fc.array(
      fc.record({ first: fc.nat(PAGES - 600), pages: fc.nat(600) }).map(({ first, pages }) =>
        round(0.1, ...(pages === 0 ? [] : [run(first, pages)]))
      ),
      { minLength: 1, maxLength: 20 },
    );
    const downtime = fc.double({ min: 0.001, max: 2, noNaN: true });
    fc.assert(fc.property(measured, downtime, (measured, downtime) => {
      const { requiredBandwidth } = go(measured, { downtime });
      if (requiredBandwidth <= 1) return;
      for (const factor of [1, 1.5, 10]) {
        const { converges, downtime: needed } = go(measured, {
          downtime,
          bandwidth: requiredBandwidth * factor,
        });
        assert.ok(converges && needed <= downtime);
      }
      assert.equal(
        go(measured, { downtime, bandwidth: requiredBandwidth * 0.99 }).converges,
        false,
      );
    }));
  });

  const wrong: readonly (readonly [string, () => unknown])[] = [
    ["no round", () => go([])],
    ["a round of no time", () => go([round(0)])],
    ["a round of fewer than no pages", () => go([{ seconds: 1, pages: -1, runs: null }])],
    ["no bandwidth", () => go(HOT, { bandwidth: 0 })],
    ["no downtime", () => go(HOT, { downtime: 0 })],
    ["a page size that is no number", () => go(HOT, { pgsize: Number.NaN })],
    ["fewer than no rounds", () => go(HOT, { maxRounds: -1 })],
  ];
  for (const [what, call] of wrong) {
    it(`throws a RangeError on ${what}`, () => {
      assert.throws(
        call,
        (error: Error) =>
          error instanceof RangeError && error.message.startsWith("Cannot forecast a pre-copy: "),
      );
    });
  }
});
