import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { describe, it } from "node:test";
import { COMMANDS } from "../../cli/specs/commands.ts";
import { IN_DENO, vfiokit } from "../cli/_cli.ts";
import { LeavingServer } from "./_leaving_server.ts";
import { Served } from "./_served.ts";

/** The flags that the README gives, with `--allow-ffi` for libc alone. */
function permissionsOf(name: string): readonly string[] {
  const { permissions } = COMMANDS.find((command) => command.name === name)!;
  const libc = "/lib/x86_64-linux-gnu/libc.so.6";
  // Elsewhere libc is in another place.
  const limited = existsSync(libc);
  return permissions!.map((flag) => limited && flag === "--allow-ffi" ? `${flag}=${libc}` : flag);
}

describe("the commands on a device that is served", () => {
  it("do what they do on others, with no more permissions", async () => {
    await using served = new Served();
    const device = await served.serve("sim:mlx5?size=256KiB");
    const file = served.file("a.vfk");
    const lines: Readonly<Record<string, readonly [args: readonly string[], shown: RegExp]>> = {
      probe: [["probe", device], /can be migrated, protocol v2, with STOP_COPY, P2P, PRE_COPY/],
      state: [["state", device, "stop"], /running-p2p → stop/],
      reset: [["reset", device], /running/],
      save: [["save", device, "--precopy", "-o", file], /Saved vfio-user:/],
      restore: [["restore", device, file], /Restored vfio-user:/],
      check: [["check", device, "--only", "identity"], /0 failed/],
      "dirty get": [
        ["dirty", "get", device, "--map", "0:1MiB", "--after", "1ms"],
        /0 pages of 256/,
      ],
    };
    for (const [name, [args, shown]] of Object.entries(lines)) {
      const options = IN_DENO ? { permissions: permissionsOf(name) } : {};
      const { code, out, err } = await vfiokit(args, options);
      assert.equal(code, 0, `${name}: ${err}`);
      assert.match(out + err, shown, name);
    }
  });

  it("take two devices of two servers", async () => {
    await using served = new Served();
    const first = await served.serve("sim:mlx5?size=256KiB&seed=1");
    const second = await served.serve("sim:mlx5?size=256KiB&seed=2");
    const file = served.file("a.vfk");
    const lines: readonly (readonly [args: readonly string[], shown: RegExp])[] = [
      [["save", first, second, "--precopy", "-o", file], /Saved 2 devices/],
      [["restore", first, second, file], /Restored 2 devices/],
      [["check", first, second, "--only", "round-trip", "--reset"], /\n[1-9]\d* passed, 0 failed/],
    ];
    for (const [args, shown] of lines) {
      const { code, out, err } = await vfiokit(args);
      assert.equal(code, 0, `${args[0]}: ${err}`);
      assert.match(out, shown);
    }
    const itself = await vfiokit(["check", first, first]);
    assert.equal(itself.code, 2);
    assert.match(itself.err, /with itself/);
  });

  it("move a device from one server to another", async () => {
    await using served = new Served();
    const from = await served.serve("sim:mlx5?size=64KiB&seed=1&dma=random:500/s");
    const to = await served.serve("sim:mlx5?size=64KiB&seed=2");
    const address = `unix:${served.file("migration")}`;
    const journal = ["--journal", served.file("journal")];
    const waiting = Promise.withResolvers<void>();
    const receiving = vfiokit(["receive", to, "--listen", address, ...journal], {
      permissions: permissionsOf("receive"),
      started(child): void {
        let text = "";
        child.stderr?.on("data", (chunk: Uint8Array) => {
          text += new TextDecoder().decode(chunk);
          if (/^Waiting for migrate/m.test(text)) waiting.resolve();
        });
      },
    });
    await Promise.race([waiting.promise, receiving]);
    const words = ["--map", "0x100000:256KiB", "--to", address, "--downtime", "10min", ...journal];
    const moved = await vfiokit(["migrate", from, ...words], {
      permissions: permissionsOf("migrate"),
    });
    assert.equal(moved.code, 0, moved.err);
    assert.match(moved.out, /^Moved vfio-user:/m);
    const received = await receiving;
    assert.equal(received.code, 0, received.err);
  });

  it("say why there is no device, and whether it needs a reset", async () => {
    await using served = new Served();
    const nobody = `vfio-user:${served.file("nobody.sock")}`;
    const { code, err } = await vfiokit(["save", nobody, "-o", served.file("a.vfk")]);
    assert.equal(code, 3);
    assert.match(err, /nobody\.sock fails with ENOENT: there is no socket of that name/);
    // Its server leaves at the first step of the state.
    const socket = served.file("leaving.sock");
    using _leaving = new LeavingServer(socket, "leaves");
    const gone = await vfiokit(["state", `vfio-user:${socket}`, "stop", "--json"]);
    assert.equal(gone.code, 5, gone.err);
    const { state, error } = JSON.parse(gone.out);
    assert.deepEqual([state, error.deviceState, error.errno], ["unknown", "unknown", "ECONNRESET"]);
    assert.match(gone.err, /the server closed the connection, while it was asked for VFIO_USER_/);
    assert.match(gone.err, /cannot be opened again: .* ECONNREFUSED: no server listens there/);
  });

  it("give up a server that stalls in a message", async () => {
    await using served = new Served();
    const socket = served.file("stalling.sock");
    using _stalling = new LeavingServer(socket, "stalls");
    const { code, out, err } = await vfiokit(["state", `vfio-user:${socket}`, "stop", "--json"]);
    assert.equal(code, 5, err);
    const { state, error } = JSON.parse(out);
    assert.deepEqual([state, error.deviceState, error.errno], ["unknown", "unknown", "ETIMEDOUT"]);
    assert.match(err, /did not answer within 10 s, while it was asked for VFIO_USER_/);
  });
});
