import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import process from "node:process";
import { describe, it } from "node:test";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

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
    [["state", OWN, "--repair"], 2, /--qmp SOCKET/],
    [["state", OWN, "stop", "--repair", "--qmp", "/tmp/x"], 2, /the VMM has the device/],
    [["state", OWN, "--qmp", "/tmp/x"], 2, /without --repair/],
    [["state", OWN, "--rollback", "/tmp/x"], 2, /without --repair/],
    [["state", OWN, "--stay-paused"], 2, /without --repair/],
    [["state", "sim:mlx5", "--repair", "--qmp", "/tmp/x"], 2, /expected pid:N/],
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

  it("is saved only by its VMM's monitor, and in no state that the VMM does not know of", async () => {
    using folder = new Folder();
    const output = folder.file("a");
    const monitor = ["--qmp", folder.file("monitor")];
    for (
      const [words, why] of [
        [[OWN], /--qmp SOCKET/],
        [[OWN, OWN, ...monitor], /name one/],
        [[OWN, ...monitor, "--precopy"], /Cannot use pre-copy/],
        [[OWN, ...monitor, "--leave", "stop"], /than its VMM believes in/],
        [[OWN, ...monitor, "--via", "group"], /options about opening/],
        [["sim:mlx5", ...monitor], /a device that a VMM has open/],
      ] as const
    ) {
      const { code, err } = await vfiokit(["save", ...words, "-o", output]);
      assert.equal(code, 2, err);
      assert.match(err, why);
    }
    const none = await vfiokit(["save", OWN, ...monitor, "-o", output]);
    assert.equal(none.code, 1, none.err);
    assert.equal(existsSync(output), false);
  });

  it("is restored only by its VMM's monitor, from a file, after its state was kept", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    const monitor = ["--qmp", folder.file("monitor")];
    const saved = await vfiokit(["save", "sim:mlx5?size=64KiB", "-o", file]);
    assert.equal(saved.code, 0, saved.err);
    for (
      const [words, why] of [
        [[OWN, file], /--qmp SOCKET/],
        [[OWN, OWN, file, ...monitor], /name one/],
        [[OWN, file, ...monitor, "--hold"], /options about opening/],
        [[OWN, file, ...monitor, "--leave", "stop"], /than its VMM believes in/],
        [[OWN, file, ...monitor, "--force"], /the very device that was saved/],
        [[OWN, "-", ...monitor], /must be a file/],
        [["sim:mlx5", file, ...monitor], /a device that a VMM has open/],
        [["sim:mlx5", file, "--rollback", `${file}.b`], /a device that a VMM has open/],
      ] as const
    ) {
      const { code, err } = await vfiokit(["restore", ...words]);
      assert.equal(code, 2, err);
      assert.match(err, why);
    }
    const none = await vfiokit(["restore", OWN, file, ...monitor]);
    assert.equal(none.code, 1, none.err);
    assert.match(none.err, /has no VFIO device open/);
    assert.equal(existsSync(`${file}.rollback`), false);
  });
});
