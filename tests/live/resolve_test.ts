// What is decided from two journals, where the model's worlds do not go: other machines.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Entry, JournalView, Side } from "../../src/live/commit/journal.ts";
import { resolve, type ResolveOptions } from "../../src/live/commit/resolve.ts";

function view(side: Side, alive: boolean | null, ...entries: Entry[]): JournalView {
  const process = { pid: 1, started: "1", boot: "b" };
  return { id: "0".repeat(32), side, process, entries, alive };
}

/** The verdict in short: its kind, or the orders. */
function short(source: JournalView, destination: JournalView, options?: ResolveOptions): string {
  const verdict = resolve(source, destination, options);
  if (verdict.kind === "settled") return `settled: ${verdict.where}`;
  if (verdict.kind !== "decided") return verdict.kind;
  return `source ${verdict.source ?? "-"}, destination ${verdict.destination ?? "-"}`;
}

describe("resolve()", () => {
  it("lets the destination run if both are in doubt, wherever they are", () => {
    for (const here of [true, null]) {
      const source = view("source", here, "commit", "doubt");
      const destination = view("destination", here === true ? null : true, "loaded", "doubt");
      assert.equal(short(source, destination), "source -, destination run");
    }
  });

  it("drops the source once the destination runs", () => {
    const source = view("source", true, "commit", "doubt");
    const running = view("destination", true, "loaded", "doubt", "run", "starting", "running");
    assert.equal(short(source, running), "source drop, destination -");
    const dropped = view("source", true, "commit", "doubt", "drop", "done");
    assert.equal(short(dropped, running), "settled: destination");
  });

  it("asks whether the process on the other machine has ended, if that matters", () => {
    const doubt = view("destination", true, "loaded", "doubt");
    const undecided = view("source", null);
    assert.equal(short(undecided, doubt), "unknown");
    assert.equal(short(undecided, doubt, { peerEnded: true }), "source -, destination run");
    const source = view("source", true, "commit", "doubt");
    const starting = view("destination", null, "loaded", "starting");
    assert.equal(short(source, starting), "unknown");
    assert.equal(short(source, starting, { peerEnded: true }), "choose");
    const insisting = { peerEnded: true, insistOnSource: true };
    assert.equal(short(source, starting, insisting), "source run, destination -");
  });

  it("does not decide against a process that is at work", () => {
    const source = view("source", true, "commit");
    assert.equal(short(source, view("destination", true, "loaded")), "under-way");
    assert.equal(short(source, view("destination", true, "loaded", "starting")), "under-way");
    assert.equal(short(source, view("destination", true, "loaded", "doubt")), "under-way");
  });

  it("does not believe two journals that contradict each other", () => {
    assert.equal(
      short(view("source", true, "commit", "doubt"), view("destination", true)),
      "unknown",
    );
  });
});
