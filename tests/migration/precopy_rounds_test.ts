import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Rounds } from "../../src/migration/protocol/precopy_rounds.ts";

const NONE = { threshold: 0, downtimeMs: 0, maxRounds: Infinity, maxTimeMs: Infinity };

describe("the rounds of pre-copy", () => {
  it("fit below the threshold, or within the downtime at the rate so far", () => {
    let now = 0;
    const rounds = new Rounds({ ...NONE, threshold: 10, downtimeMs: 100 }, () => now);
    // No rate yet.
    assert.equal(rounds.fits(11), false);
    assert.equal(rounds.fits(10), true);
    now = 1000;
    rounds.read(5000);
    assert.equal(rounds.fits(500), true);
    assert.equal(rounds.fits(501), false);
    now = 2000;
    assert.equal(rounds.fits(250), true);
    assert.equal(rounds.fits(251), false);
    const untimed = new Rounds(NONE, () => now++);
    untimed.read(1 << 20);
    assert.deepEqual([untimed.timed, untimed.fits(1), untimed.fits(0)], [false, false, true]);
  });

  it("end at the time, at the number of rounds, and if nothing gets less", () => {
    let now = 0;
    const timed = new Rounds({ ...NONE, maxTimeMs: 10 }, () => now);
    assert.equal(timed.exhausted(100), false);
    now = 10;
    assert.equal(timed.exhausted(100), true);

    const counted = new Rounds({ ...NONE, maxRounds: 2 });
    const pending = [100, 90, 80].map((left) => {
      const ended = counted.exhausted(left);
      counted.read(left);
      return ended;
    });
    assert.deepEqual(pending, [false, false, true]);

    const stale = new Rounds(NONE);
    const ends = [100, 100, 100].map((left) => {
      const ended = stale.exhausted(left);
      stale.read(left);
      return ended;
    });
    assert.deepEqual(ends, [false, false, true]);
  });

  it("begin anew if the driver does, and that counts as a round", () => {
    const rounds = new Rounds({ ...NONE, maxRounds: 3 });
    rounds.exhausted(10);
    rounds.read(10);
    rounds.restart();
    // A hundred times as much is pending, and it is no stale round.
    assert.equal(rounds.exhausted(1000), false);
    assert.equal(rounds.exhausted(900), false);
    rounds.restart();
    rounds.restart();
    assert.equal(rounds.exhausted(1000), true);
  });
});
