import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PhaseReports } from "../../src/live/phase_reports.ts";

describe("reports of a migration's phases", () => {
  it("come as a phase begins, again while it lasts, and no more at the end", async () => {
    const heard: string[] = [];
    const thrice = Promise.withResolvers<void>();
    const reports = new PhaseReports<string>((phase) => {
      heard.push(phase);
      if (heard.length === 4) thrice.resolve();
    }, (error) => thrice.reject(error));
    {
      using _ = reports;
      reports.tell("connecting");
      reports.tell("pre-copy");
      assert.deepEqual(heard, ["connecting", "pre-copy"]);
      await thrice.promise;
    }
    assert.deepEqual(heard, ["connecting", "pre-copy", "pre-copy", "pre-copy"]);
    const more = Promise.withResolvers<void>();
    using _other = new PhaseReports<string>(() => more.resolve(), () => {});
    _other.tell("");
    await more.promise;
    assert.equal(heard.length, 4);
  });

  it("throw to who tells, and between two phases to who made them, once", async () => {
    const failed = Promise.withResolvers<unknown>();
    let calls = 0;
    const enough = new Error("enough");
    using reports = new PhaseReports<string>(() => {
      calls += 1;
      if (calls > 1) throw enough;
    }, (error) => failed.resolve(error));
    reports.tell("pre-copy");
    assert.equal(await failed.promise, enough);
    assert.equal(calls, 2);
    assert.throws(() => reports.tell("stopped"), enough);
  });
});
