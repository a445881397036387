import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { constants } from "node:os";
import process from "node:process";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { POLLIN, POLLOUT } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { until } from "../_until.ts";
import { command as vfiokitCommand, projectFile, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { interrupted } from "./_interrupted.ts";

/** A driver that takes a minute for all: a line of progress, and then a signal, come before its end. */
const SLOW = "size=64MiB&fault=block:1s:always";

const MAP = ["--map=0:64MiB"];
const BITMAP = ["--format=bitmap"];

const kernel = libcKernel();

describe("a signal", () => {
  for (const [signal, exitCode] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    it(`ends a save with ${exitCode} after ${signal}: the device runs, no file is left`, async () => {
      using folder = new Folder();
      const file = folder.file("a");
      const { code, out, err } = await interrupted(
        ["save", `sim:mapped?${SLOW}`, "-o", file, "--json"],
        /stop-and-copy, .* pending/,
        signal,
      );
      assert.equal(code, exitCode, err);
      const { state, error } = JSON.parse(out);
      assert.equal(state, "running");
      assert.equal(error.code, "interrupted");
      assert.equal(error.deviceState, "running");
      assert.match(err, new RegExp(`Interrupted by ${signal}`));
      assert.deepEqual(readdirSync(dirname(file)), []);
    });
  }

  it("ends a save in pre-copy too", async () => {
    using folder = new Folder();
    const { code, out } = await interrupted(
      ["save", `sim:mapped?${SLOW}`, "-o", folder.file("a"), "--precopy", "--json"],
      /pre-copy, .* pending/,
      "SIGINT",
    );
    assert.equal(code, 130);
    assert.equal(JSON.parse(out).error.deviceState, "running");
  });

  it("ends a restore: the device is reset and runs", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    await vfiokit(["save", "sim:mapped?size=64MiB", "-o", file]);
    const { code, out, err } = await interrupted(
      ["restore", `sim:mapped?${SLOW}`, file, "--json"],
      /resuming, /,
      "SIGTERM",
    );
    assert.equal(code, 143, err);
    assert.equal(JSON.parse(out).error.deviceState, "running");
    assert.match(err, /reset/);
  });

  for (const phase of ["stop-copy", "pre-copy"]) {
    it(`ends a save of a v2 device in ${phase}: it runs, no file is left`, async () => {
      using folder = new Folder();
      const file = folder.file("a");
      const options = phase === "pre-copy" ? ["--precopy"] : [];
      const { code, out, err } = await interrupted(
        ["save", `sim:mlx5?${SLOW}`, "-o", file, "--json", ...options],
        new RegExp(`: ${phase}, .* pending`),
        "SIGINT",
      );
      assert.equal(code, 130, err);
      assert.equal(JSON.parse(out).error.deviceState, "running");
      assert.deepEqual(readdirSync(dirname(file)), []);
    });
  }

  it("ends a restore of a v2 device: it is reset and runs", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    await vfiokit(["save", "sim:mlx5?size=64MiB", "-o", file]);
    const { code, out, err } = await interrupted(
      ["restore", `sim:mlx5?${SLOW}`, file, "--json"],
      /resuming, /,
      "SIGTERM",
    );
    assert.equal(code, 143, err);
    assert.equal(JSON.parse(out).error.deviceState, "running");
    assert.match(err, /reset/);
  });

  it("gives up at once when it comes again, though the driver has not answered yet", async () => {
    using folder = new Folder();
    const { code, err } = await vfiokit(
      ["save", "sim:mapped?size=8MiB&fault=block:86400s:3", "-o", folder.file("a")],
      {
        started: (child) => {
          let seen = "";
          child.stderr?.on("data", (chunk: Uint8Array) => {
            if (seen === "") process.kill(child.pid!, "SIGINT");
            const before = seen.includes("still waiting");
            seen += new TextDecoder().decode(chunk);
            if (!before && seen.includes("still waiting")) {
              process.kill(child.pid!, "SIGINT");
            }
          });
        },
      },
    );
    assert.equal(code, 130);
    assert.match(
      err,
      /still waiting, for the driver, a file or a pipe; a second signal gives up at once/,
    );
    assert.match(err, /SIGINT again: gave up while waiting/);
    assert.deepEqual(readdirSync(dirname(folder.file("a"))), []);
  });

  it("ends `state --hold`, which printed the state before", async () => {
    const { code, out, err } = await interrupted(
      ["state", "sim:mapped", "pre-copy", "--hold", "--json"],
      /Held open/,
      "SIGINT",
    );
    assert.equal(code, 130);
    assert.equal(JSON.parse(out).state, "pre-copy");
    assert.doesNotMatch(err, /gone/);
  });

  it("ends `--hold --on-error leave`, which held a device that failed", async () => {
    const { code, out, err } = await interrupted(
      ["state", "sim:trapped?fault=error-state:1", "stop", "--hold", "--on-error=leave", "--json"],
      /Held open/,
      "SIGINT",
    );
    assert.equal(code, 5, err);
    assert.equal(JSON.parse(out).error.deviceState, "error");
    assert.equal(err.match(/Cannot go from running/g)?.length, 1);
  });

  it("ends a restore that failed, and held the device as it was", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    await vfiokit(["save", "sim:mapped?size=1MiB", "-o", file]);
    const { code, out, err } = await interrupted(
      [
        "restore",
        "sim:mapped?size=1MiB&fault=load:1:EIO",
        file,
        "--hold",
        "--on-error=leave",
        "--json",
      ],
      /Held open/,
      "SIGTERM",
    );
    assert.equal(code, 1, err);
    assert.equal(JSON.parse(out).error.deviceState, "resuming");
  });
});

describe("progress", () => {
  it("is a line on stderr from time to time if stderr is no terminal", async () => {
    const line = /^Saving sim:mapped.*: stop-and-copy, 2\.0 MiB, .*\/s.*, 6\.0 MiB pending.*$/gm;
    const words = ["save", "sim:mapped?size=8MiB&fault=block:86400s:3", "-o", "/dev/null"];
    const { err } = await vfiokit(words, {
      started: (child) => {
        let seen = "";
        child.stderr?.on("data", (chunk: Uint8Array) => {
          seen += new TextDecoder().decode(chunk);
          if (seen.match(line)?.length === 2) child.kill("SIGKILL");
        });
      },
    });
    assert.ok(err.match(line)!.length >= 2, err);
  });
});

describe("a command that reads a pipe which gives nothing", () => {
  const commands = [["verify"], ["show"], ["dirty", "forecast", "--bandwidth=1GiB"]];
  for (const command of commands) {
    for (const [signal, expected] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
      it(`ends at the first ${signal}: ${command.join(" ")}`, async () => {
        using folder = new Folder();
        const fifo = folder.file("fifo");
        execFileSync("mkfifo", [fifo]);
        const held = fs.openSync(fifo, "r+");
        try {
          const [program, ...args] = vfiokitCommand();
          const child = spawn(program, [...args, ...command, fifo]);
          const ended = new Promise<number | null>((resolve) =>
            child.once("exit", (code) => resolve(code))
          );
          let err = "";
          child.stderr!.on("data", (data) => err += data);
          await catches(child.pid!, signal);
          // Once it has read this byte, it waits for the next one.
          fs.writeSync(held, "\n");
          await until(() => kernel.poll(held, POLLIN, 0) === 0, "the byte is read");
          // Not child.kill: Deno then reports the signal as the end, whatever the exit code was.
          process.kill(child.pid!, signal);
          assert.equal(await ended, expected, err);
          // On a busy machine it may have said that it still waits, for whatever it may be.
          assert.doesNotMatch(err.replace(/^.*: still waiting, .*$/m, ""), /driver/);
        } finally {
          fs.closeSync(held);
        }
      });
    }
  }
});

describe("a command whose reader takes nothing more", () => {
  /** What each writes to stdout: a checkpoint, whose reader a thread waits for, or a result. */
  const scripts = [
    ["checkpoint", "cli/main.ts", "save", "sim:mapped?size=4MiB", "-o", "-", "--quiet"],
    ["checkpoint", "cli/phases/precopy.ts", "sim:mapped?size=4MiB", "--quiet"],
    ["checkpoint", "cli/phases/stop_and_copy.ts", "sim:mlx5?size=4MiB", "--quiet"],
    ["result", "cli/main.ts", "dirty", "watch", "sim:trapped", ...MAP, "--every=1ms", "--json"],
    ["result", "cli/main.ts", "dirty", "watch", "sim:trapped", ...MAP, "--every=1ms"],
    ["result", "cli/main.ts", "dirty", "get", "sim:trapped?pin=9", ...MAP, "--after=1ms", "--json"],
    ["result", "cli/main.ts", "dirty", "get", "sim:trapped", ...MAP, "--after=1ms", ...BITMAP],
    ["result", "cli/main.ts", "show", "fixtures/checkpoints/version-1.vfk", "--json"],
    ["result", "cli/main.ts", "probe", "sim:mlx5"],
    ["result", "cli/main.ts", "uapi"],
    ["result", "cli/main.ts", "save", "--help"],
    ["result", "tests/cli/_stalled_look.ts"],
  ] as const;
  for (const [what, script, ...args] of scripts) {
    for (const [signal, expected] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
      it(`ends at the first ${signal}: ${script} ${args.join(" ")}`, async () => {
        using folder = new Folder();
        const fifo = folder.file("fifo");
        execFileSync("mkfifo", [fifo]);
        const held = fs.openSync(fifo, "r+");
        try {
          fill(fifo);
          // The first bytes of a checkpoint find room, which shows that the rest waits.
          if (what === "checkpoint") fs.readSync(held, new Uint8Array(4096));
          const [program, ...before] = vfiokitCommand({ script: "tests/cli/_announcing.ts" });
          const child = spawn(program, [...before, ...args], {
            stdio: ["ignore", held, "pipe"],
            env: { ...process.env, SCRIPT: pathToFileURL(projectFile(script)).href },
          });
          const ended = new Promise<number | null>((resolve) =>
            child.once("exit", (code) => resolve(code))
          );
          let err = "";
          child.stderr!.on("data", (data) => err += data);
          await catches(child.pid!, signal);
          const full = (): boolean => kernel.poll(held, POLLOUT, 0) === 0;
          const announced = (): boolean => err.includes("waits for the reader");
          await until(what === "checkpoint" ? full : announced, `it writes: ${err}`);
          // Not child.kill: Deno then reports the signal as the end, whatever the exit code was.
          process.kill(child.pid!, signal);
          assert.equal(await ended, expected, err);
          if (what === "checkpoint") assert.match(err, /the device is running again/);
        } finally {
          fs.closeSync(held);
        }
      });
    }
  }
});

it("the result of a save goes to stderr if nobody reads stdout", async () => {
  using folder = new Folder();
  const fifo = folder.file("fifo");
  const checkpoint = folder.file("a.vfk");
  execFileSync("mkfifo", [fifo]);
  const held = fs.openSync(fifo, "r+");
  try {
    fill(fifo);
    const { code, err } = await interrupted(
      ["save", "sim:mlx5?size=1MiB", "-o", checkpoint],
      /waits for the reader/,
      "SIGTERM",
      {
        script: "tests/cli/_announcing.ts",
        env: { SCRIPT: pathToFileURL(projectFile("cli/main.ts")).href },
        stdout: held,
      },
    );
    assert.equal(code, 143, err);
    assert.match(err, /Nobody reads stdout; the work is done all the same/);
    assert.match(err, /^Saved sim:mlx5/m);
  } finally {
    fs.closeSync(held);
  }
});

/** Waits until a process has a handler for a signal. */
async function catches(pid: number, signal: NodeJS.Signals): Promise<void> {
  const bit = 1n << BigInt(constants.signals[signal] - 1);
  await until(() => {
    const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
    const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
    return (BigInt(`0x${mask}`) & bit) !== 0n;
  }, `a handler for ${signal}`);
}

/** Leaves no room in a fifo. */
function fill(fifo: string): void {
  const fd = fs.openSync(fifo, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK);
  try {
    for (const size of [4096, 1]) {
      const bytes = new Uint8Array(size);
      for (;;) {
        try {
          fs.writeSync(fd, bytes);
        } catch (error) {
          if ((error as { code?: unknown }).code !== "EAGAIN") throw error;
          break;
        }
      }
    }
  } finally {
    fs.closeSync(fd);
  }
}
