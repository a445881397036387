/** What save says and leaves where its file is read back. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { type Outcome, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { type HeldAt, heldSave } from "./_hold.ts";

/** The temporary files beside a file. */
function partials(file: string): string[] {
  const folder = dirname(file);
  return fs.readdirSync(folder).filter((name) => name.endsWith(".partial")).map((name) =>
    join(folder, name)
  );
}

/** Runs a save, and changes a byte of what it has written before that is read back, or renamed. */
function damagedSave(
  args: readonly string[],
  file: string,
  heldAt: HeldAt = "before the reading back",
): Promise<Outcome> {
  return heldSave([...args, "-o", file], heldAt, ({ goOn }) => {
    const [partial] = partials(file);
    const fd = fs.openSync(partial!, "r+");
    const at = fs.fstatSync(fd).size / 2 | 0;
    const byte = new Uint8Array(1);
    fs.readSync(fd, byte, 0, 1, at);
    fs.writeSync(fd, byte.map((bits) => ~bits), 0, 1, at);
    fs.closeSync(fd);
    goOn();
  });
}

describe("save, reading back", () => {
  it("says in words and in JSON that the file was read back, and how long it took", async () => {
    using folder = new Folder();
    const words = await vfiokit(["save", "sim:mapped?size=1MiB", "-o", folder.file("a")]);
    assert.match(words.out, /^The file was read back in [0-9.]+ [mµ]?s, and is good\.$/m);
    for (const devices of [["sim:mapped?size=1MiB"], ["sim:mlx5?size=1MiB", "sim:trapped"]]) {
      const { code, out } = await vfiokit(
        ["save", ...devices, "-o", folder.file("b"), "--force", "--json"],
      );
      assert.equal(code, 0);
      const { readBack } = JSON.parse(out);
      assert.deepEqual(Object.keys(readBack), ["done", "seconds", "reason"]);
      assert.deepEqual([readBack.done, readBack.reason], [true, null]);
      assert.ok(readBack.seconds > 0);
    }
  });

  it("says that and why the file was not read back: not wanted, or not a file", async () => {
    using folder = new Folder();
    const save = ["save", "sim:mapped?size=1MiB", "-o"];
    const reasonOf = async (...words: string[]): Promise<unknown> => {
      const { code, out, err } = await vfiokit([...save, ...words, "--json"]);
      assert.equal(code, 0, err);
      return JSON.parse(out).readBack;
    };
    assert.deepEqual(await reasonOf(folder.file("a"), "--no-read-back"), {
      done: false,
      seconds: null,
      reason: "not-wanted",
    });
    const none = { done: false, seconds: null, reason: "not-a-file" };
    assert.deepEqual(await reasonOf("/dev/null"), none);
    const fifo = folder.file("fifo");
    execFileSync("mkfifo", [fifo]);
    const read = fs.promises.readFile(fifo);
    assert.deepEqual(await reasonOf(fifo), none);
    assert.ok((await read).length > 1 << 20);
    const words = await vfiokit([...save, folder.file("b"), "--no-read-back"]);
    assert.match(words.out, /^The file was not read back\.$/m);
    const piped = await vfiokit([...save, "-"]);
    assert.doesNotMatch(piped.err, /read back/);
  });

  for (
    const [what, devices] of [
      ["a v1 device", ["sim:trapped?size=1MiB"]],
      ["a v2 device", ["sim:mlx5?size=1MiB"]],
      ["several devices", ["sim:mlx5?size=1MiB", "sim:mapped?size=1MiB"]],
    ] as const
  ) {
    it(`exits with 1 and leaves no file if that of ${what} is bad`, async () => {
      using folder = new Folder();
      const file = folder.file("a");
      const { code, out, err } = await damagedSave([...devices, "--json"], file);
      assert.equal(code, 1, err);
      assert.match(err, /Cannot read back ".*": .*CRC.* \(at byte \d+\); the temporary file was /);
      assert.match(err, /no file was left; (the device is|all of them are) running/);
      assert.match(err, /^ {2}hint: save again; /m);
      const document = JSON.parse(out);
      assert.equal(document.state, "running");
      assert.equal(document.error.code, "read-back");
      // Nothing had to be done about any device: of several, none is singled out.
      assert.equal(document.error.deviceState, devices.length === 1 ? "running" : null);
      assert.deepEqual([document.readBack.done, document.readBack.reason], [false, "bad"]);
      assert.ok(document.readBack.seconds > 0);
      assert.deepEqual(fs.readdirSync(dirname(file)), []);
    });
  }

  it("keeps a bad file with --no-read-back, and verify finds it", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    const words = ["sim:trapped?size=1MiB", "--no-read-back"];
    const saved = await damagedSave(words, file, "before the commit");
    assert.equal(saved.code, 0, saved.err);
    assert.equal((await vfiokit(["verify", file])).code, 4);
  });

  it("leaves the file that --force would replace untouched if the new one is bad", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    fs.writeFileSync(file, "precious");
    const { code, err } = await damagedSave(["sim:mlx5?size=1MiB", "--force"], file);
    assert.equal(code, 1, err);
    assert.match(err, /the file that was there is as it was/);
    assert.equal(fs.readFileSync(file, "utf8"), "precious");
    assert.deepEqual(fs.readdirSync(dirname(file)), ["a"]);
  });

  for (const [signal, exitCode] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    it(`ends with ${exitCode} at ${signal}: no file is left, and the device runs`, async () => {
      using folder = new Folder();
      const file = folder.file("a");
      const { code, out, err } = await heldSave(
        ["sim:mapped?size=4MiB", "-o", file, "--digest", "sha256", "--json"],
        "after the first chunk",
        // It goes on once it has the signal.
        ({ pid }) => void process.kill(pid, signal),
      );
      assert.equal(code, exitCode, err);
      const document = JSON.parse(out);
      assert.equal(document.error.code, "interrupted");
      assert.equal(document.error.deviceState, "running");
      assert.equal(document.state, "running");
      assert.equal(document.readBack.reason, "interrupted");
      assert.match(
        err,
        new RegExp(`Interrupted by ${signal}: .*Cannot read back ".*": interrupted`),
      );
      assert.match(err, /no file was left; the device is running/);
      assert.deepEqual(fs.readdirSync(dirname(file)), []);
    });
  }

  it("shows how far it is", async () => {
    using folder = new Folder();
    const { code, err } = await heldSave(
      ["sim:mapped?size=4MiB", "-o", folder.file("a")],
      "after the first chunk",
      async ({ says, goOn }) => {
        // A line a second: the first ones may still be of the save itself.
        await says(
          /^Saving sim:mapped\?size=4MiB: reading back, 1\.0 MiB, .*\/s, 3\.\d MiB pending$/m,
        );
        goOn();
      },
    );
    assert.equal(code, 0, err);
  });
});
