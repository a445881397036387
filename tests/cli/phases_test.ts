import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";
import { until } from "../_until.ts";
import { command, type Outcome, type RunOptions, vfiokit } from "./_cli.ts";

const DEVICE = "sim:mapped?size=2MiB";

const PHASES = ["precopy", "stop-and-copy", "resume"] as const;

function phase(
  name: typeof PHASES[number],
  args: readonly string[] = [DEVICE],
  options: RunOptions = {},
): Promise<Outcome> {
  const permissions = ["--allow-ffi", "--allow-read"];
  return vfiokit(["phase", name, ...args], { permissions, ...options });
}

async function show(checkpoint: Uint8Array): Promise<{
  complete: boolean;
  transactions: number;
  phases: { phase: string; bytes: number }[];
}> {
  return JSON.parse((await vfiokit(["show", "-", "--json"], { stdin: checkpoint })).out);
}

describe("vfiokit phase", () => {
  it("write what pre-copy read as a checkpoint that is not complete", async () => {
    const { code, stdout, err } = await phase("precopy");
    assert.equal(code, 0, err);
    const before = await show(stdout);
    assert.equal(before.complete, false);
    assert.deepEqual(before.phases.map(({ phase }) => phase), ["pre-copy"]);
  });

  for (const device of [DEVICE, "sim:mlx5?size=2MiB"]) {
    it(`refuse to go on from a pre-copy that the device has left: ${device}`, async () => {
      // What the second process opens is another device, which was never in it.
      const { stdout, err: told } = await phase("precopy", [device]);
      assert.match(told, /^Pre-copy ended after \d+ rounds?, .* pending: /m);
      const { code, err } = await phase("stop-and-copy", [device], { stdin: stdout });
      assert.equal(code, 1, err);
      assert.match(err, /in running, and has left the pre-copy that comes in on stdin/);
      assert.match(err, /vfiokit with/);
    });
  }

  it("drive a v2 device by the same words", async () => {
    const alone = await phase("stop-and-copy", ["sim:qat?size=2MiB&seed=1"]);
    assert.equal(alone.code, 0, alone.err);
    const restored = await phase("resume", ["sim:qat?size=2MiB&seed=2"], { stdin: alone.stdout });
    assert.equal(restored.code, 0, restored.err);
    // Each says how long the device stood still, or that it is stopped, and where the time went.
    assert.match(alone.err, /^The device is stopped: running-p2p → stop \d.*first byte .*data /m);
    assert.match(restored.err, /^The device stood still for \d.*stop → resuming .*data /m);
    const other = await phase("resume", ["sim:mapped?size=2MiB"], { stdin: alone.stdout });
    assert.equal(other.code, 4);
    assert.match(other.err, /protocol/);
  });

  it("refuse to restore what pre-copy alone wrote with 4", async () => {
    const { stdout } = await phase("precopy");
    const { code, err } = await phase("resume", [DEVICE], { stdin: stdout });
    assert.equal(code, 4);
    assert.match(err, /pre-copy/);
  });

  it("exit with 3 for a device without migration, and write nothing", async () => {
    for (const name of PHASES) {
      const { code, out, err } = await phase(name, ["sim:none"]);
      assert.equal(code, 3, err);
      assert.equal(out, "");
      assert.match(err, /no migration region/);
    }
  });

  it("restore what stop-and-copy alone wrote, with nothing on its stdin", async () => {
    const alone = await phase("stop-and-copy");
    assert.equal(alone.code, 0, alone.err);
    const whole = await show(alone.stdout);
    assert.deepEqual(whole.phases.map(({ phase }) => phase), ["stop-and-copy"]);
    const restored = await phase("resume", ["sim:mapped?size=2MiB&seed=3"], {
      stdin: alone.stdout,
    });
    assert.equal(restored.code, 0, restored.err);
    assert.equal(restored.out, "");
  });

  it("refuse a cut checkpoint on stdin with 4, and the device runs again", async () => {
    const { stdout } = await phase("precopy");
    const cut = stdout.subarray(0, stdout.length - 7);
    const { code, err } = await phase("stop-and-copy", [DEVICE], { stdin: cut });
    assert.equal(code, 4);
    assert.match(err, /ends before its trailer.*running/);
  });

  it("say once what became of a device whose checkpoint was cut", async () => {
    const { stdout } = await phase("stop-and-copy");
    const [program, ...words] = command();
    const child = spawn(program, [...words, "phase", "resume", DEVICE], {
      stdio: ["pipe", "ignore", "pipe"],
    });
    let err = "";
    child.stderr.on("data", (data) => err += data);
    const ended = once(child, "close");
    child.stdin.write(stdout.subarray(0, 5000));
    // The cut comes once the device is in RESUMING: else there is nothing that could be lost.
    await until(() => err.includes("resuming") || child.exitCode !== null, "it is resuming");
    child.stdin.end();
    const [code] = await ended;
    assert.equal(code, 4, err);
    assert.equal(err.split("its former state is lost").length, 2, err);
  });

  it("refuse a checkpoint of another kind of device with 4", async () => {
    const { stdout } = await phase("precopy");
    const { code } = await phase("stop-and-copy", ["sim:trapped?size=2MiB"], { stdin: stdout });
    assert.equal(code, 4);
  });

  it("refuse a checkpoint that is complete already with 2", async () => {
    const { stdout } = await phase("stop-and-copy");
    const { code, err } = await phase("stop-and-copy", [DEVICE], { stdin: stdout });
    assert.equal(code, 2);
    assert.match(err, /complete already/);
  });

  it("fail with 1, and the device runs, when the reader of their pipe goes away", async () => {
    for (const name of ["precopy", "stop-and-copy"] as const) {
      const { code, err } = await phase(name, ["sim:mapped?size=64MiB"], {
        started: (child) => child.stdout?.destroy(),
      });
      assert.equal(code, 1, err);
      assert.match(err, /EPIPE/);
      assert.match(err, /running/);
    }
  });

  it("exits with 2 for a device that is missing", async () => {
    for (const name of PHASES) {
      const { code, err } = await phase(name, [], { permissions: [] });
      assert.equal(code, 2);
      assert.match(err, /^vfiokit phase .*: Expected a `DEVICE`/);
    }
  });
});

describe("the scripts of the phases", () => {
  const script = (name: string, args: readonly string[], stdin: Uint8Array | string = "") =>
    vfiokit(args, {
      permissions: ["--allow-ffi", "--allow-read"],
      script: `cli/phases/${name.replaceAll("-", "_")}.ts`,
      stdin,
    });

  it("do what the commands do", async () => {
    const before = await script("precopy", [DEVICE]);
    assert.equal(before.code, 0, before.err);
    assert.equal((await show(before.stdout)).complete, false);
    const { stdout, code, err } = await script("stop-and-copy", [DEVICE]);
    assert.equal(code, 0, err);
    const after = await script("resume", ["sim:mapped?size=2MiB&seed=3"], stdout);
    assert.equal(after.code, 0, after.err);
  });

  it("have the commands' help and errors, under their names", async () => {
    for (const name of PHASES) {
      const called = `${name.replaceAll("-", "_")}.ts`;
      const help = await script(name, ["--help"]);
      assert.equal(help.code, 0);
      assert.match(help.out, new RegExp(`^Usage: ${called} DEVICE`, "m"));
      const bare = await script(name, []);
      assert.equal(bare.code, 2);
      assert.ok(bare.err.startsWith(`${called}: Expected a \`DEVICE\``), bare.err);
    }
  });
});
