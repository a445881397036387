// A migration's journal: what is on disk is what was decided, and what a file says is judged first.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  addDecision,
  Journal,
  journalPath,
  newMigrationId,
  readJournal,
} from "../../src/live/commit/journal.ts";
import { JournalError } from "../../src/live/commit/journal_error.ts";
import { isAlive, thisProcess } from "../../src/live/commit/process_id.ts";

const ID = "0123456789abcdef0123456789abcdef";

class TemporaryFolder implements Disposable {
  readonly path = fs.mkdtempSync(join(os.tmpdir(), "vfiokit-journal-"));

  [Symbol.dispose](): void {
    fs.rmSync(this.path, { recursive: true });
  }
}

const codeOf = (code: string) => (error: unknown): boolean =>
  error instanceof JournalError && error.code === code;

describe("a journal", () => {
  it("is read as it was written, by its owner only", () => {
    using folder = new TemporaryFolder();
    using journal = Journal.create(join(folder.path, "new"), ID, "source");
    journal.add("commit");
    journal.add("doubt");
    const view = readJournal(journal.path);
    assert.deepEqual(view, {
      id: ID,
      side: "source",
      process: thisProcess(),
      entries: ["commit", "doubt"],
      alive: true,
    });
    assert.equal(fs.statSync(journal.path).mode & 0o777, 0o600);
    assert.equal(fs.statSync(join(folder.path, "new")).mode & 0o777, 0o700);
  });

  it("is made once for a migration and a side", () => {
    using folder = new TemporaryFolder();
    using _ = Journal.create(folder.path, ID, "source");
    using _other = Journal.create(folder.path, ID, "destination");
    assert.throws(() => Journal.create(folder.path, ID, "source"), codeOf("exists"));
  });

  it("cannot be made if no file can", () => {
    assert.throws(() => Journal.create("/proc/none", ID, "source"), codeOf("unwritable"));
    assert.throws(() => journalPath("/tmp", "../../etc/passwd", "source"), RangeError);
    assert.match(newMigrationId(), /^[0-9a-f]{32}$/);
  });

  it("takes decisions from outside, behind half a line too", () => {
    using folder = new TemporaryFolder();
    using journal = Journal.create(folder.path, ID, "destination");
    journal.add("loaded");
    addDecision(journal.path, "run");
    assert.deepEqual(readJournal(journal.path).entries, ["loaded", "run"]);
    fs.appendFileSync(journal.path, '{"time":"2026-01-01T00:00:00.000Z","ent');
    assert.deepEqual(readJournal(journal.path).entries, ["loaded", "run"]);
    addDecision(journal.path, "reset");
    assert.deepEqual(readJournal(journal.path).entries, ["loaded", "run", "reset"]);
    assert.throws(() => addDecision(join(folder.path, "none"), "run"), codeOf("unwritable"));
  });

  it("cut at any byte is read up to its last whole line, or refused", () => {
    using folder = new TemporaryFolder();
    using journal = Journal.create(folder.path, ID, "source");
    journal.add("commit");
    journal.add("back");
    const whole = fs.readFileSync(journal.path);
    const cut = join(folder.path, "cut");
    for (let length = 0; length <= whole.length; length++) {
      fs.writeFileSync(cut, whole.subarray(0, length));
      const lines = whole.subarray(0, length).toString().split("\n").length - 1;
      if (lines === 0) assert.throws(() => readJournal(cut), codeOf("bad-journal"));
      else assert.deepEqual(readJournal(cut).entries, ["commit", "back"].slice(0, lines - 1));
    }
  });

  it("that is something else is refused, with the line", () => {
    using folder = new TemporaryFolder();
    const file = join(folder.path, "bad");
    const head = {
      vfiokit: "migration-journal",
      version: 1,
      id: ID,
      side: "source",
      ...thisProcess(),
    };
    const bad: readonly (readonly [string, RegExp])[] = [
      ["", /line 1/],
      ["hello\n", /line 1/],
      ["[]\n", /line 1/],
      [`${JSON.stringify({ ...head, version: 2 })}\n`, /line 1: version 2/],
      [`${JSON.stringify({ ...head, id: "x" })}\n`, /line 1: id/],
      [`${JSON.stringify({ ...head, side: "both" })}\n`, /line 1: side/],
      [`${JSON.stringify({ ...head, pid: -1 })}\n`, /line 1: pid/],
      [`${JSON.stringify(head)}\n{"entry":"fly"}\n`, /line 2: entry/],
      [`${JSON.stringify(head)}\nnonsense}\n`, /line 2/],
      [`${JSON.stringify(head)}\n${"x".repeat(1 << 17)}\n`, /too long/],
    ];
    for (const [text, why] of bad) {
      fs.writeFileSync(file, text);
      assert.throws(() => readJournal(file), (error) => {
        assert.ok(error instanceof JournalError);
        assert.equal(error.code, "bad-journal", text);
        assert.match(error.message, why);
        return true;
      });
    }
    assert.throws(() => readJournal(join(folder.path, "none")), codeOf("no-journal"));
    assert.throws(() => readJournal(folder.path), codeOf("bad-journal"));
  });
});

describe("a process", () => {
  it("is distinguished from a later one, and from one of another machine", async () => {
    const self = thisProcess();
    assert.equal(isAlive(self), true);
    assert.equal(isAlive({ ...self, started: `${Number(self.started) + 1}` }), false);
    assert.equal(isAlive({ ...self, boot: "another" }), null);
    const child = spawn("sleep", ["600"]);
    const stat = fs.readFileSync(`/proc/${child.pid}/stat`, "utf8");
    const started = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]!;
    const other = { pid: child.pid!, started, boot: self.boot };
    assert.equal(isAlive(other), true);
    child.kill("SIGKILL");
    await once(child, "exit");
    assert.equal(isAlive(other), false);
  });
});
