// What runs a table of steps: in order, one event at a time, with what fails.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DESTINATION } from "../../src/live/commit/destination.ts";
import { type Action, CommitMachine } from "../../src/live/commit/machine.ts";
import { SOURCE } from "../../src/live/commit/source.ts";

/** A machine's actions in order, of which some fail. */
class Actions {
  readonly done: string[] = [];
  readonly failed: string[] = [];
  readonly failing = new Set<string>();
  readonly perform = async (action: Action): Promise<void> => {
    await Promise.resolve();
    if (this.failing.has(action)) throw new Error(`cannot ${action}`);
    this.done.push(action);
  };
  readonly report = (action: Action): void => void this.failed.push(action);
}

describe("Machine", () => {
  it("does the actions of events one after the other", async () => {
    const actions = new Actions();
    const machine = new CommitMachine(SOURCE, "moving", actions.perform, actions.report);
    assert.ok(machine.expects("stopped") && !machine.expects("running"));
    const states = await Promise.all([
      machine.take("stopped"),
      machine.take("loaded"),
      machine.take("running"),
    ]);
    assert.deepEqual(states, ["stopped", "committed", "done"]);
    assert.deepEqual(actions.done, ["send end", "journal commit", "send commit", "journal done"]);
  });

  it("takes a failed action as an event, and drops those behind it", async () => {
    const actions = new Actions();
    actions.failing.add("run");
    const machine = new CommitMachine(DESTINATION, "loaded", actions.perform, actions.report);
    assert.equal(await machine.take("commit"), "refused");
    assert.deepEqual(actions.done, [
      "journal starting",
      "reset",
      "journal refused",
      "send refused",
    ]);
    assert.deepEqual(actions.failed, ["run"]);
  });

  it("goes on after a failure that its state has no step for", async () => {
    const actions = new Actions();
    actions.failing.add("send abort");
    const machine = new CommitMachine(SOURCE, "stopped", actions.perform, actions.report);
    assert.equal(await machine.take("give-up"), "back");
    assert.deepEqual([actions.done, actions.failed], [["run", "journal back"], ["send abort"]]);
  });

  it("refuses an event that has no step, and goes on with the next", async () => {
    const actions = new Actions();
    const machine = new CommitMachine(SOURCE, "moving", actions.perform, actions.report);
    await assert.rejects(machine.take("loaded"), RangeError);
    assert.equal(await machine.take("cut"), "back");
    assert.equal(machine.state, "back");
  });
});
