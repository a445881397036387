import assert from "node:assert/strict";
import * as fs from "node:fs";
import { describe, it } from "node:test";
import { DRIVER_RULES } from "../../src/vfio/notes/driver_note_rules.ts";
import { DriverNotes } from "../../src/vfio/notes/driver_notes.ts";

describe("DriverNotes", () => {
  it("keeps one note a code, with what was seen first and how often", () => {
    const notes = new DriverNotes();
    let asked = 0;
    for (const count of [1, 2, 3]) {
      notes.add("short-read", () => {
        asked += 1;
        return `read ${count}`;
      });
    }
    notes.add("stop-copy-empty", () => "nothing");
    assert.deepEqual(notes.list().map(({ code, seen, count }) => [code, seen, count]), [
      ["short-read", "read 1", 3],
      ["stop-copy-empty", "nothing", 1],
    ]);
    assert.equal(asked, 1);
  });

  it("adds up what was collected elsewhere", () => {
    const [here, there] = [new DriverNotes(), new DriverNotes()];
    here.add("short-read", () => "here");
    there.add("drained-zero", () => "there");
    there.add("short-read", () => "there");
    here.merge(there.list());
    assert.deepEqual(here.list().map(({ code, seen, count }) => [code, seen, count]), [
      ["short-read", "here", 2],
      ["drained-zero", "there", 1],
    ]);
  });

  it("begins anew once they were taken", () => {
    const notes = new DriverNotes();
    notes.add("short-read", () => "first");
    assert.equal(notes.take().length, 1);
    assert.deepEqual(notes.take(), []);
    notes.add("short-read", () => "second");
    assert.deepEqual(notes.list().map(({ seen, count }) => [seen, count]), [["second", 1]]);
  });
});

describe("docs/driver-notes.md", () => {
  const file = new URL("../../docs/driver-notes.md", import.meta.url);
  const text = fs.readFileSync(file, "utf8").replaceAll(/\n {2}/g, " ");

  it("has each code, its rule and its source, by its kind", () => {
    const [, mistakes, practice] = text.split(/^## .*$/m);
    for (const [code, { kind, rule, source }] of Object.entries(DRIVER_RULES)) {
      const part = kind === "mistake" ? mistakes! : practice!;
      // deno fmt escapes what would be markup.
      const lines = part.replaceAll("\\", "").split("\n");
      assert.ok(lines.includes(`- \`${code}\`: ${rule} (${source})`), code);
    }
  });

  it("has no other codes", () => {
    const codes = [...text.matchAll(/^- `([a-z0-9-]+)`: /gm)].map(([, code]) => code);
    assert.deepEqual(codes.sort(), Object.keys(DRIVER_RULES).sort());
  });
});
