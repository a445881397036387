import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync } from "node:fs";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { type Outcome, type RunOptions, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

const DEVICE = "sim:mlx5?size=1MiB";
const FULL = /Cannot write to stdout: ENOSPC, no space left/;

let full = -1;

before(() => {
  full = openSync("/dev/full", "w");
});

after(() => closeSync(full));

/** Runs the command line with a stdout that takes nothing. */
function intoFull(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return vfiokit(args, { ...options, stdout: full });
}

/** Sends SIGTERM once the process has said something like this on stderr. */
function endAfter(says: RegExp): RunOptions {
  return {
    started: (child): void => {
      let err = "";
      child.stderr?.on("data", (chunk: Uint8Array) => {
        err += new TextDecoder().decode(chunk);
        // Not child.kill: Deno then reports the signal as the end, whatever the exit code was.
        if (says.test(err)) process.kill(child.pid!, "SIGTERM");
      });
    },
  };
}

describe("a stdout that takes nothing", () => {
  it("is reported in one line, with exit code 1, by commands that only print", async () => {
    const lines = [
      ["--help"],
      ["help"],
      ["probe", "--help"],
      ["--version"],
      ["completion", "bash"],
      ["man"],
      ["probe", DEVICE],
      ["uapi", "VFIO_DEVICE_RESET", "--json"],
    ];
    for (const words of lines) {
      const { code, err } = await intoFull(words);
      assert.equal(code, 1, words.join(" "));
      assert.match(err.replace(/^Opening a PCI device.*\n/m, ""), /^vfiokit.*ENOSPC, .*\n$/);
      assert.match(err, FULL);
    }
  });

  it("is reported beside another failure, whose exit code stays", async () => {
    const { code, err } = await intoFull(["probe", "sim:nonsense", "--json"]);
    assert.equal(code, 2);
    assert.match(err, /no personality is named "nonsense"/);
    assert.match(err, FULL);
    assert.doesNotMatch(err, /\bat .*:\d+/);
  });

  it("does not hide what a save and a restore did", async () => {
    using folder = new Folder();
    const checkpoint = folder.file("a.vfk");
    const saved = await intoFull(["save", DEVICE, "-o", checkpoint]);
    assert.equal(saved.code, 1);
    assert.match(saved.err, FULL);
    assert.ok(saved.err.includes(`Saved ${DEVICE} to ${checkpoint}`), saved.err);
    assert.match(saved.err, /The device is in state running/);
    assert.equal((await vfiokit(["verify", checkpoint])).code, 0);
    const restored = await intoFull(["restore", DEVICE, checkpoint, "--json", "--quiet"]);
    assert.equal(restored.code, 1);
    assert.match(restored.err, FULL);
    const document = JSON.parse(restored.err.slice(restored.err.indexOf("{")));
    assert.equal(document.state, "running");
  });

  it("does not end a hold", async () => {
    using folder = new Folder();
    const checkpoint = folder.file("a.vfk");
    await vfiokit(["save", DEVICE, "-o", checkpoint]);
    for (const words of [["restore", DEVICE, checkpoint], ["state", DEVICE, "stop", "--json"]]) {
      const { code, err } = await intoFull([...words, "--hold"], endAfter(/Held open/));
      assert.equal(code, 143, err);
      assert.match(err, FULL);
    }
  });
});

describe("a stderr that takes nothing", () => {
  it("does not make a save fail", async () => {
    using folder = new Folder();
    const checkpoint = folder.file("a.vfk");
    const { code, out } = await vfiokit(["save", DEVICE, "-o", checkpoint], { stderr: full });
    assert.equal(code, 0);
    assert.match(out, /^Saved /);
    assert.ok(readFileSync(checkpoint).length > 1024 * 1024);
  });
});

describe("a reader that went away", () => {
  it("is no reason for a stack trace", async () => {
    for (const words of [["--help"], ["--version"], ["completion", "zsh"]]) {
      const { code, err } = await vfiokit(words, {
        started: (child) => child.stdout?.destroy(),
      });
      assert.equal(code, 0, err);
      assert.equal(err, "");
    }
  });
});

describe("a terminal", () => {
  // The other end of one is a terminal as well.
  const words = (script: string): readonly [string, string[]] => [
    `cli/${script}.ts`,
    script === "main" ? ["save", DEVICE, "-o", "-"] : [DEVICE],
  ];
  for (const script of ["main", "phases/precopy", "phases/stop_and_copy"]) {
    it(`gets no checkpoint by ${script}.ts`, async () => {
      const terminal = openSync("/dev/ptmx", "r+");
      try {
        const [path, args] = words(script);
        const { code, err } = await vfiokit(args, { script: path, stdout: terminal });
        assert.equal(code, 2, err);
        assert.match(err, /Cannot write the checkpoint to a terminal/);
      } finally {
        closeSync(terminal);
      }
    });
  }
});
