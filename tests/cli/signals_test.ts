import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { constants } from "node:os";
import process from "node:process";
import { describe, it } from "node:test";
import { command as vfiokitCommand, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { interrupted } from "./_interrupted.ts";

/** A driver that answers only after a while, so that progress is printed and a signal comes in time. */
const SLOW = "size=8MiB&fault=block:1600ms:3";

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
    await vfiokit(["save", "sim:mapped?size=8MiB", "-o", file]);
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
    await vfiokit(["save", "sim:mlx5?size=8MiB", "-o", file]);
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
    const begun = performance.now();
    using folder = new Folder();
    const { code, err } = await vfiokit(
      ["save", "sim:mapped?size=8MiB&fault=block:20000ms:3", "-o", folder.file("a")],
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
    assert.ok(performance.now() - begun < 15_000);
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
  it("is a line on stderr about every second where stderr is no terminal", async () => {
    const { err } = await vfiokit(["save", `sim:mapped?${SLOW}`, "-o", "/dev/null"]);
    const lines = err.split("\n").filter((line) => line.startsWith("Saving sim:mapped"));
    assert.ok(lines.length >= 1 && lines.length <= 4, err);
    assert.match(lines[0]!, /: stop-and-copy, 2\.0 MiB, .*\/s, 6\.0 MiB pending, ETA \d+ s/);
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
          await new Promise((resolve) => setTimeout(resolve, 500));
          // Not child.kill: Deno then reports the signal as the end, whatever the exit code was.
          process.kill(child.pid!, signal);
          assert.equal(await ended, expected, err);
          assert.doesNotMatch(err, /driver/);
        } finally {
          fs.closeSync(held);
        }
      });
    }
  }
});

describe("a command whose reader takes nothing more", () => {
  const scripts = [
    ["cli/main.ts", "save", "sim:mapped?size=4MiB", "-o", "-", "--quiet"],
    ["cli/main.ts", "dirty", "watch", "sim:trapped", "--map=0:64MiB", "--every=1ms", "--json"],
    ["cli/main.ts", "dirty", "watch", "sim:trapped", "--map=0:64MiB", "--every=1ms"],
    ["cli/phases/precopy.ts", "sim:mapped?size=4MiB", "--quiet"],
    ["cli/phases/stop_and_copy.ts", "sim:mlx5?size=4MiB", "--quiet"],
    ["cli/main.ts", "dirty", "get", "sim:trapped?pin=9", "--map=0:1MiB", "--after=1ms", "--json"],
    [
      "cli/main.ts",
      "dirty",
      "get",
      "sim:trapped",
      "--map=0:1MiB",
      "--after=1ms",
      "--format=bitmap",
    ],
    ["cli/main.ts", "show", "fixtures/checkpoints/version-1.vfk", "--json"],
    ["cli/main.ts", "probe", "sim:mlx5"],
    ["cli/main.ts", "uapi"],
    ["cli/main.ts", "save", "--help"],
    ["tests/cli/_stalled_look.ts"],
  ] as const;
  for (const [script, ...args] of scripts) {
    for (const [signal, expected] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
      it(`ends at the first ${signal}: ${script} ${args.join(" ")}`, async () => {
        using folder = new Folder();
        const fifo = folder.file("fifo");
        execFileSync("mkfifo", [fifo]);
        const held = fs.openSync(fifo, "r+");
        try {
          fill(fifo);
          const [program, ...before] = vfiokitCommand({ script });
          const stdio = ["ignore", held, "pipe"] as const;
          const child = spawn(program, [...before, ...args], { stdio: [...stdio] });
          const ended = new Promise<number | null>((resolve) =>
            child.once("exit", (code) => resolve(code))
          );
          let err = "";
          child.stderr!.on("data", (data) => err += data);
          await catches(child.pid!, signal);
          // In that time it comes to its writing.
          await new Promise((resolve) => setTimeout(resolve, 3000));
          process.kill(child.pid!, signal);
          assert.equal(await ended, expected, err);
          if (script.startsWith("cli/phases") || args.includes("-o" as never)) {
            assert.match(err, /the device is running again/);
          }
        } finally {
          fs.closeSync(held);
        }
      });
    }
  }
});

it("a result that its reader does not take after a save is told on stderr", async () => {
  using folder = new Folder();
  const fifo = folder.file("fifo");
  const checkpoint = folder.file("a.vfk");
  execFileSync("mkfifo", [fifo]);
  const held = fs.openSync(fifo, "r+");
  try {
    fill(fifo);
    const { code, err } = await vfiokit(["save", "sim:mlx5?size=1MiB", "-o", checkpoint], {
      stdout: held,
      started: (child) => {
        const look = setInterval(() => {
          if (!fs.existsSync(checkpoint)) return;
          clearInterval(look);
          setTimeout(() => process.kill(child.pid!, "SIGTERM"), 500);
        }, 50);
      },
    });
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
  for (;;) {
    const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
    const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
    if ((BigInt(`0x${mask}`) & bit) !== 0n) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
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
