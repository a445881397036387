import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { serve } from "../../cli/specs/serve.ts";
import { Client } from "../server/_client.ts";
import { type Outcome, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

type Child = Parameters<NonNullable<NonNullable<Parameters<typeof vfiokit>[1]>["started"]>>[0];

/** Serves a device with the permissions that help names; calls `use` once it does, then ends it. */
async function serving(
  device: string,
  socket: string,
  use: () => void,
  signal: NodeJS.Signals = "SIGTERM",
): Promise<Outcome> {
  let ready: (child: Child) => void = () => {};
  const started = new Promise<Child>((resolve) => {
    ready = resolve;
  });
  const { permissions } = serve;
  const ended = vfiokit(["serve", device, "--socket", socket], {
    permissions,
    started(child): void {
      let text = "";
      child.stderr?.on("data", (chunk: Uint8Array) => {
        text += new TextDecoder().decode(chunk);
        if (/^Serving .* at /m.test(text)) ready(child);
      });
    },
  });
  const child = await Promise.race([started, ended]);
  assert.ok("pid" in child, "err" in child ? child.err : "");
  use();
  // Not child.kill: Deno then reports the signal as the end, whatever the exit code was.
  process.kill(child.pid!, signal);
  return await ended;
}

describe("vfiokit serve", () => {
  it("serves with the permissions that its help names, until a signal comes", async () => {
    using folder = new Folder();
    const socket = folder.file("mlx5.sock");
    const { code, out, err } = await serving("sim:mlx5?size=1MiB", socket, () => {
      using client = Client.connect(socket);
      assert.equal(client.version({ vfiokit: { version: 1 } }).vfiokit?.driver, "mlx5_vfio_pci");
    });
    assert.equal(code, 143, err);
    assert.equal(out, "");
    assert.match(err, /process \d+ is connected/);
    assert.deepEqual(readdirSync(dirname(socket)), []);
  });

  it("replaces the socket of one that was killed", async () => {
    using folder = new Folder();
    const socket = folder.file("mlx5.sock");
    await serving("sim:mlx5?size=1MiB", socket, () => {}, "SIGKILL");
    assert.ok(existsSync(socket));
    const { code, err } = await serving("sim:mlx5?size=1MiB", socket, () => {
      using client = Client.connect(socket);
      client.version();
    }, "SIGINT");
    assert.equal(code, 130, err);
    assert.ok(!existsSync(socket));
  });

  it("refuses what it cannot serve, and leaves no socket", async () => {
    using folder = new Folder();
    const socket = folder.file("a.sock");
    const real = await vfiokit(["serve", "0000:3b:00.1", "--socket", socket]);
    assert.equal(real.code, 2);
    assert.match(real.err, /only simulated devices .* and traces/);
    assert.equal((await vfiokit(["serve", "sim:nothing", "--socket", socket])).code, 2);
    const nowhere = await vfiokit(["serve", "sim:mlx5", "--socket", `${socket}/a/b`]);
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.err, /Cannot serve at .*ENOENT/);
    assert.deepEqual(readdirSync(dirname(socket)), []);
  });
});
