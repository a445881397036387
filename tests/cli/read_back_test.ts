/** What save says and leaves where its file is read back. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { type Outcome, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

/** A driver that answers late, so that somebody has the time to change what was written by then. */
const LATE = "size=8MiB&fault=block:2000ms";

function partials(file: string): string[] {
  const folder = dirname(file);
  return fs.readdirSync(folder).filter((name) => name.endsWith(".partial")).map((name) =>
    join(folder, name)
  );
}

/** Runs a save, and changes a byte of what it has written while it waits for the driver. */
function spoiled(args: readonly string[], file: string): Promise<Outcome> {
  return vfiokit(["save", ...args, "-o", file], {
    started: (child) => {
      const look = setInterval(() => {
        const [partial] = partials(file);
        if (partial === undefined || fs.statSync(partial).size < 1 << 20) return;
        clearInterval(look);
        const fd = fs.openSync(partial, "r+");
        fs.writeSync(fd, new Uint8Array([0xff]), 0, 1, 100);
        fs.closeSync(fd);
      }, 5);
      child.on("close", () => clearInterval(look));
    },
  });
}

/** Calls back once the process has the file open a second time: it is being read back. */
function whenReading(pid: number, file: string, then: () => void): NodeJS.Timeout {
  const look = setInterval(() => {
    const [partial] = partials(file);
    if (partial === undefined) return;
    let open = 0;
    for (const fd of fs.readdirSync(`/proc/${pid}/fd`)) {
      try {
        if (fs.readlinkSync(`/proc/${pid}/fd/${fd}`) === partial) open += 1;
      } catch {
        // Closed meanwhile.
      }
    }
    if (open < 2) return;
    clearInterval(look);
    then();
  }, 1);
  return look;
}

/**
 * Runs a save of much, and stops it while it reads back; `then` goes on from there. A busy machine
 * may be too late to stop it: until it was in time, as `wanted` tells by the outcome, it tries again.
 */
async function stoppedAtReading(
  file: string,
  then: (pid: number) => void,
  wanted: (outcome: Outcome) => boolean,
): Promise<Outcome> {
  const args = ["save", "sim:mapped?size=256MiB", "-o", file, "--digest", "sha256", "--json"];
  for (let tries = 1;; tries++) {
    const outcome = await vfiokit(args, {
      started: (child) => {
        const pid = child.pid!;
        const look = whenReading(pid, file, () => {
          process.kill(pid, "SIGSTOP");
          then(pid);
        });
        child.on("close", () => clearInterval(look));
      },
    });
    if (wanted(outcome) || tries === 8) return outcome;
    fs.rmSync(file, { force: true });
  }
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

  it("says where it did not: told not to, or nothing there to read", async () => {
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
      ["a v1 device", [`sim:trapped?chunk=256KiB&${LATE}:12`]],
      ["a v2 device", [`sim:mlx5?${LATE}:6`]],
      ["several devices", [`sim:mlx5?${LATE}:6`, "sim:mapped?size=1MiB"]],
    ] as const
  ) {
    it(`exits with 1 and leaves no file where that of ${what} is bad`, async () => {
      using folder = new Folder();
      const file = folder.file("a");
      const { code, out, err } = await spoiled([...devices, "--json"], file);
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

  it("would have kept a bad file without, and verify finds it", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    const saved = await spoiled(
      [`sim:trapped?chunk=256KiB&${LATE}:12`, "--no-read-back"],
      file,
    );
    assert.equal(saved.code, 0, saved.err);
    assert.equal((await vfiokit(["verify", file])).code, 4);
  });

  it("leaves the file that --force would have replaced as it was where the new one is bad", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    fs.writeFileSync(file, "precious");
    const { code, err } = await spoiled([`sim:mlx5?${LATE}:6`, "--force"], file);
    assert.equal(code, 1, err);
    assert.match(err, /the file that was there is as it was/);
    assert.equal(fs.readFileSync(file, "utf8"), "precious");
    assert.deepEqual(fs.readdirSync(dirname(file)), ["a"]);
  });

  for (const [signal, exitCode] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    it(`ends with ${exitCode} at ${signal} meanwhile: no file is left, and the device runs`, async () => {
      using folder = new Folder();
      const file = folder.file("a");
      const { code, out, err } = await stoppedAtReading(file, (pid) => {
        process.kill(pid, signal);
        process.kill(pid, "SIGCONT");
      }, ({ code }) => code !== 0);
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

  it("shows progress meanwhile", async () => {
    using folder = new Folder();
    const line = /^Saving sim:mapped\?size=256MiB: reading back, .*, .*, .* pending$/m;
    const { code, err } = await stoppedAtReading(
      folder.file("a"),
      // A line a second: after this long one is due.
      (pid) => void setTimeout(() => process.kill(pid, "SIGCONT"), 1200),
      ({ err }) => line.test(err),
    );
    assert.equal(code, 0, err);
    assert.match(err, line);
  });
});
