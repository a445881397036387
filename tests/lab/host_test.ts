import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { cached, runText, which } from "./host.ts";

it("cached makes a folder once", () => {
  const folder = mkdtempSync(join(tmpdir(), "vfiokit-"));
  try {
    let made = 0;
    const make = (to: string): void => writeFileSync(join(to, "file"), String(++made));
    const path = join(folder, "thing");
    assert.equal(cached(path, make), path);
    assert.equal(cached(path, make), path);
    assert.equal(readFileSync(join(path, "file"), "utf8"), "1");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("cached leaves nothing of a folder that could not be made", () => {
  const folder = mkdtempSync(join(tmpdir(), "vfiokit-"));
  try {
    const path = join(folder, "thing");
    assert.throws(() => cached(path, () => assert.fail("no network")), /no network/);
    assert.ok(!existsSync(path));
    assert.deepEqual(readdirSync(folder), []);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("cached removes what a process left that is gone, and nothing else", () => {
  const folder = mkdtempSync(join(tmpdir(), "vfiokit-"));
  try {
    // No process has this number: the largest is 2^22.
    const others = ["thing-2.4194305", `thing.${process.ppid}`, "thing.old"];
    for (const name of [...others, "thing.4194305"]) mkdirSync(join(folder, name));
    cached(join(folder, "thing"), () => {});
    assert.deepEqual(readdirSync(folder).sort(), [...others, "thing"].sort());
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("runText gives what was printed, and throws with the last words of what failed", () => {
  assert.equal(runText("sh", ["-c", "echo one; echo two"]), "one\ntwo");
  assert.throws(() => runText("sh", ["-c", "echo why >&2; exit 3"]), /exit 3\nwhy/);
});

it("which finds a program in PATH, or null", () => {
  assert.match(which("sh") ?? "", /\/sh$/);
  assert.equal(which("no-such-program"), null);
});
