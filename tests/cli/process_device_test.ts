import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { vfiokit } from "./_cli.ts";

/** This process: it has no VFIO device open. */
const OWN = `pid:${process.pid}`;

describe("a device of another process", () => {
  const REFUSED: readonly (readonly [words: readonly string[], code: number, why: RegExp])[] = [
    [["probe", OWN], 1, /has no VFIO device open/],
    [["probe", `${OWN}/0`], 1, /fd 0 of process \d+: it is no VFIO device/],
    [["state", OWN], 1, /has no VFIO device open/],
    [["probe", "pid:x"], 2, /expected pid:N, or pid:N\/FD/],
    [["probe", OWN, "--via", "group"], 2, /another process has opened it/],
    [["probe", OWN, "--no-open"], 2, /another process has opened it/],
    [["state", OWN, "stop"], 2, /it would not know of it/],
    [["state", OWN, "--hold"], 2, /it would not know of it/],
    [["save", OWN, "-o", "/dev/null"], 2, /can only be looked at/],
    [["reset", OWN], 2, /can only be looked at/],
    [["check", OWN], 2, /can only be looked at/],
    [["dirty", "get", OWN, "--map", "0:1MiB"], 2, /can only be looked at/],
  ];
  for (const [words, code, why] of REFUSED) {
    it(`is refused by: ${words.join(" ").replaceAll(String(process.pid), "N")}`, async () => {
      const ended = await vfiokit(words);
      assert.equal(ended.code, code, ended.err);
      assert.match(ended.err, why);
    });
  }
});
