import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { expectedDowntimeMs, type Round } from "../../src/live/convergence.ts";

const MIB = 2 ** 20;

/** A round of memory that is looked at with 4 GiB/s, and sent with 1 GiB/s. */
function round(looked: number, sent: number, dirtied: number): Round {
  const [looking, sending] = [looked / (4096 * MIB), sent / (1024 * MIB)];
  return { sent, seconds: looking + sending, sending, looked, looking, dirtied, left: dirtied };
}

describe("the expected downtime", () => {
  it("counts all that is left as sent after the first round", () => {
    const rounds = [round(1024 * MIB, 1024 * MIB, 512 * MIB)];
    assert.equal(Math.round(expectedDowntimeMs(rounds, 0)), 500 + 125);
  });

  it("has the bandwidth of what was sent, not of zeros that were looked at", () => {
    const rounds = [round(4096 * MIB, 64 * MIB, 512 * MIB)];
    assert.equal(Math.round(expectedDowntimeMs(rounds, 7)), 500 + 125 + 7);
  });

  it("is short for a device that is idle, though all of its memory counts as dirty", () => {
    const all = 1024 * MIB;
    const rounds = [round(all, all, all), round(all, 0, all)];
    assert.equal(Math.round(expectedDowntimeMs(rounds, 0)), 250);
    const compared = { ...round(all, 0, 0), compared: true as const };
    assert.ok(expectedDowntimeMs([rounds[0]!, compared, round(MIB, MIB, MIB)], 0) > 1);
  });

  it("is that of what the devices report besides memory", () => {
    const rounds = [round(MIB, MIB, MIB), { ...round(MIB, MIB, 0), left: 1024 * MIB }];
    assert.equal(Math.round(expectedDowntimeMs(rounds, 0)), 1000);
    assert.equal(expectedDowntimeMs([], 3), 3);
  });
});
