import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { serve } from "../../cli/specs/serve.ts";
import { VFIO_DEVICE_STATE_RUNNING_P2P, VFIO_DEVICE_STATE_STOP } from "../../src/uapi/mod.ts";
import { VFIO_USER_DEVICE_FEATURE } from "../../src/vfio_user/wire/commands.ts";
import { Client } from "../server/_client.ts";
import { setState } from "../server/_requests.ts";
import { type Outcome, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

type Child = Parameters<NonNullable<NonNullable<Parameters<typeof vfiokit>[1]>["started"]>>[0];

/** Serves a device with the permissions that help names; calls `use` once it does, then ends it. */
async function serving(
  device: string,
  socket: string,
  use: () => void,
  { signal = "SIGTERM", options = [] }: {
    readonly signal?: NodeJS.Signals;
    readonly options?: readonly string[];
  } = {},
): Promise<Outcome> {
  let ready: (child: Child) => void = () => {};
  const started = new Promise<Child>((resolve) => {
    ready = resolve;
  });
  const { permissions } = serve;
  const ended = vfiokit(["serve", device, "--socket", socket, ...options], {
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
    await serving("sim:mlx5?size=1MiB", socket, () => {}, { signal: "SIGKILL" });
    assert.ok(existsSync(socket));
    const { code, err } = await serving("sim:mlx5?size=1MiB", socket, () => {
      using client = Client.connect(socket);
      client.version();
    }, { signal: "SIGINT" });
    assert.equal(code, 130, err);
    assert.ok(!existsSync(socket));
  });

  it("traces what each client makes the device do", async () => {
    using folder = new Folder();
    const [socket, trace] = [folder.file("mlx5.sock"), folder.file("trace")];
    const { code, err } = await serving("sim:mlx5?size=64KiB", socket, () => {
      for (const state of [VFIO_DEVICE_STATE_STOP, VFIO_DEVICE_STATE_RUNNING_P2P]) {
        using client = Client.connect(socket);
        client.version({ vfiokit: { version: 1 } });
        client.demand(VFIO_USER_DEVICE_FEATURE, setState(state));
      }
    }, { options: ["--trace", trace] });
    assert.equal(code, 143, err);
    const shown = await vfiokit(["trace", "show", trace, "--filter", "MIG_DEVICE_STATE"]);
    assert.equal(shown.code, 0, shown.err);
    assert.match(
      shown.out,
      /SET MIG_DEVICE_STATE, device_state=stop,[^]*\nthread 2: [^]* device_state=running-p2p,/,
    );
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
    assert.match(nowhere.err, /Cannot listen on .*ENOENT/);
    assert.deepEqual(readdirSync(dirname(socket)), []);
  });
});
