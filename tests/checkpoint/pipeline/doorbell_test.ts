import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Doorbell } from "../../../src/checkpoint/pipeline/doorbell.ts";

describe("a doorbell", () => {
  it("does not wait for what is there", () => {
    assert.equal(new Doorbell().until(() => "found"), "found");
  });

  it("looks once if there is no time to wait", () => {
    let looks = 0;
    assert.equal(new Doorbell().until(() => (looks += 1, null), 0), null);
    assert.equal(looks, 1);
  });

  it("gives up when the time is up", () => {
    assert.equal(new Doorbell().until(() => null, 5), null);
  });

  it("does not sleep if it was rung after the look", () => {
    const bell = new Doorbell();
    let looks = 0;
    const found = bell.until(() => {
      looks += 1;
      if (looks === 2) return "found";
      // The change comes too late for this look, and before the sleep.
      bell.ring();
      return null;
    });
    assert.equal(found, "found");
  });

  it("waits without blocking the event loop", async () => {
    const bell = new Doorbell();
    const events: string[] = [];
    let there = false;
    setTimeout(() => {
      events.push("timer");
      there = true;
      bell.ring();
    }, 1);
    assert.equal(await bell.untilAsync(() => there ? "found" : null), "found");
    events.push("found");
    assert.deepEqual(events, ["timer", "found"]);
    assert.equal(await bell.untilAsync(() => null, 5), null);
  });
});
