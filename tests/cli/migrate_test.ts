import assert from "node:assert/strict";
import { execFileSync, spawn, type StdioOptions } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync, symlinkSync } from "node:fs";
import * as net from "node:net";
import { describe, it } from "node:test";
import { migrate } from "../../cli/specs/migrate/migrate.ts";
import { receive } from "../../cli/specs/migrate/receive.ts";
import { restore } from "../../cli/specs/save_restore.ts";
import { FIONBIO, libcKernel } from "../../src/kernel/mod.ts";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import { addDecision, Journal, journalPath } from "../../src/live/commit/journal.ts";
import { Peer } from "../../src/live/connection/peer.ts";
import { connectUnix } from "../../src/live/mod.ts";
import { command, type Outcome, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { receiving } from "./_receiving.ts";

const ID = "0123456789abcdef0123456789abcdef";

/** A line of `--events`. */
interface Event {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** The lines of `--events`, which follow each other in time. */
function eventsIn(path: string): Event[] {
  const lines = readFileSync(path, "utf8").trim().split("\n").map((line) => JSON.parse(line));
  let last = 0;
  for (const { schema, ms } of lines) {
    assert.equal(schema, "vfiokit/migration-event/1");
    assert.ok(ms >= last);
    last = ms;
  }
  assert.equal(lines[0].type, "begin");
  return lines;
}

describe("vfiokit migrate", () => {
  it("moves a device and its memory to receive, with the permissions that help names", async () => {
    using folder = new Folder();
    const socket = folder.file("socket");
    const journal = ["--journal", folder.file("journal")];
    let moved: Outcome | null = null;
    const taken = await receiving(
      [
        ...["sim:mlx5?size=64KiB&seed=2", "--listen", `unix:${socket}`, "--json", ...journal],
        ...["--events", folder.file("there")],
      ],
      async () => {
        const words = ["--map", "0x100000:256KiB", "--to", `unix:${socket}`, "--downtime", "10min"];
        const device = "sim:mlx5?size=64KiB&dma=random:500/s";
        words.push("--events", folder.file("here"), "--streams", "3");
        moved = await vfiokit(["migrate", device, ...words, "--json", ...journal], {
          permissions: migrate.permissions,
        });
      },
    );
    const { code, out, err } = moved!;
    assert.equal(code, 0, err);
    assert.equal(taken.code, 0, taken.err);
    assert.match(err, /^Round 1: .* left; expected downtime: /m);
    const [here, there] = [JSON.parse(out), JSON.parse(taken.out)];
    assert.equal(here.schema, "vfiokit/migrate/1");
    assert.equal(there.schema, "vfiokit/receive/1");
    assert.equal(here.id, there.id);
    assert.deepEqual([here.streams, there.streams], [3, 3]);
    assert.equal(here.devices[0].state, "stop");
    assert.equal(there.devices[0].state, "running");
    assert.equal(there.bytes.device, here.bytes.device);
    assert.ok(there.bytes.memory >= 256 * 1024);
    assert.equal(existsSync(socket), false);
    const [sent, received] = [eventsIn(folder.file("here")), eventsIn(folder.file("there"))];
    const phases = (of: readonly Event[]): unknown[] => of.flatMap(({ phase }) => phase ?? []);
    assert.deepEqual(phases(sent), ["connecting", "pre-copy", "stopped", "committing", "done"]);
    assert.deepEqual(phases(received), ["receiving", "loaded", "starting", "done"]);
    assert.deepEqual([sent[0]!["side"], received[0]!["side"]], ["source", "destination"]);
    const rounds = sent.filter(({ type }) => type === "round");
    assert.deepEqual(
      rounds.map(({ number, sent }) => [number, sent]),
      here.rounds.map(({ sent }: { sent: number }, index: number) => [index + 1, sent]),
    );
    const { code: resolved, out: settled } = await vfiokit([
      "migrate",
      "--resolve",
      here.id,
      ...journal,
    ]);
    assert.equal(resolved, 0);
    assert.match(
      settled,
      /the destination ran .*process has ended since.*there is nothing to decide/,
    );
  });

  it("moves it over TCP with the keys of keygen, and turns away a peer with another one", async () => {
    using folder = new Folder();
    const made = ["a", "b", "c"].map((name) => folder.file(name));
    for (const each of made) {
      const { code, out, err } = await vfiokit(["keygen", each]);
      assert.equal(code, 0, err);
      assert.match(out, /^SHA-256: +[0-9a-f]{64}$/m);
      assert.equal(statSync(`${each}/key.pem`).mode & 0o777, 0o600);
    }
    const [a, b, c] = made as [string, string, string];
    assert.equal((await vfiokit(["keygen", a])).code, 1);
    const journal = ["--journal", folder.file("journal")];
    const as = (own: string, peer: string): string[] => [
      "--key",
      `${own}/key.pem`,
      "--certificate",
      `${own}/certificate.pem`,
      "--peer",
      `${peer}/certificate.pem`,
      ...journal,
    ];
    const { permissions } = migrate;
    const device = "sim:mlx5?size=64KiB";
    const taken = await receiving(
      [device, "--listen", "tcp://127.0.0.1:0", ...as(b, a)],
      async (address) => {
        const words = ["migrate", device, "--map", "0x100000:64KiB", "--downtime", "10min"];
        const other = await vfiokit([...words, "--to", address, ...as(c, b)], { permissions });
        assert.equal(other.code, 1);
        const streams = ["--streams", "2"];
        const moved = await vfiokit([...words, "--to", address, ...streams, ...as(a, b)], {
          permissions,
        });
        assert.equal(moved.code, 0, moved.err);
      },
    );
    assert.equal(taken.code, 0, taken.err);
  });

  it("moves it to a program's stdin and stdout", async () => {
    using folder = new Folder();
    const [program, ...before] = command();
    const journal = `--journal ${folder.file("journal")}`;
    const there = [program, ...before, "receive", "sim:trapped?size=64KiB", "--listen", "-"];
    const { code, out, err } = await vfiokit([
      "migrate",
      "sim:trapped?size=64KiB&seed=5",
      "--map",
      "0x100000:64KiB",
      "--downtime",
      "10min",
      "--to",
      `exec:${there.map((word) => `'${word}'`).join(" ")} ${journal}`,
      "--journal",
      folder.file("journal"),
    ]);
    assert.equal(code, 0, err);
    assert.match(out, /^Moved sim:trapped/m);
    assert.match(err, /^Took over sim:trapped/m);
    assert.equal(readdirSync(folder.file("journal")).length, 2);
  });

  it("moves it over an inherited socket", async () => {
    using folder = new Folder();
    const journal = ["--journal", folder.file("journal")];
    const [here, there] = UnixSocket.pair();
    // As a program leaves them to its children.
    for (const { fd } of [here, there]) {
      libcKernel().ioctl(fd, FIONBIO, new Uint8Array(new ArrayBuffer(4)));
    }
    const device = "sim:mlx5?size=64KiB";
    const start = (
      words: readonly string[],
      spec: Pick<typeof migrate, "permissions">,
      stdio: StdioOptions,
    ) => {
      const [program, ...before] = command(spec);
      const child = spawn(program, [...before, ...words, ...journal], { stdio });
      return once(child, "exit").then(([code]) => code);
    };
    const receiving = start(["receive", device, "--listen", "-"], receive, [
      ...[there.fd, there.fd, "inherit"] as const,
    ]);
    const words = ["migrate", `${device}&seed=5`, "--map", "0x100000:64KiB", "--to", "fd:3"];
    const moving = start([...words, "--downtime", "10min", "--quiet"], migrate, [
      ...["ignore", "ignore", "inherit", here.fd] as const,
    ]);
    here.close();
    there.close();
    assert.deepEqual(await Promise.all([moving, receiving]), [0, 0]);

    const wrong = [["fd:3", 1, /Cannot connect by fd 3: it is no stream socket, or not open/], [
      "fd:x",
      2,
      /an address is unix:PATH, .* or fd:N/,
    ]] as const;
    for (const [address, code, message] of wrong) {
      const ended = await vfiokit(["migrate", device, "--to", address, ...journal]);
      assert.equal(ended.code, code, ended.err);
      assert.match(ended.err, message);
    }
  });

  it("lends a simulated device that it took over to a program", async () => {
    using folder = new Folder();
    const socket = `unix:${folder.file("socket")}`;
    const journal = ["--journal", folder.file("journal")];
    const device = "sim:mlx5?size=64KiB";
    const ask = [...command(), "state", "fd:3"];
    const taken = await receiving(
      [device, "--listen", socket, ...journal, "--", ...ask],
      async () => {
        const words = ["--map", "0x100000:64KiB", "--to", socket, "--downtime", "10min"];
        const moved = await vfiokit(["migrate", device, ...words, ...journal], {
          permissions: migrate.permissions,
        });
        assert.equal(moved.code, 0, moved.err);
      },
      [...receive.permissions, "--allow-run"],
    );
    assert.equal(taken.code, 0, taken.err);
    assert.match(taken.out, /^fd:3: running/);
  });

  it("lets a peer that speaks garbage touch no device, and waits for the next", async () => {
    using folder = new Folder();
    const socket = folder.file("socket");
    const journal = ["--journal", folder.file("journal")];
    const taken = await receiving(
      ["sim:mlx5?size=64KiB", "--listen", `unix:${socket}`, ...journal],
      async () => {
        const client = net.connect(socket);
        client.write("GET / HTTP/1.1\r\n\r\n");
        client.resume();
        await new Promise((resolve) => client.once("close", resolve));
        const words = ["--map", "0x100000:64KiB", "--to", `unix:${socket}`, "--downtime", "10min"];
        const { permissions } = migrate;
        const device = "sim:mlx5?size=64KiB";
        const moved = await vfiokit(["migrate", device, ...words, ...journal], { permissions });
        assert.equal(moved.code, 0, moved.err);
      },
    );
    assert.equal(taken.code, 0, taken.err);
    assert.match(taken.err, /turned away: .* does not speak this protocol: its first bytes/);
  });

  it("turns away a peer whose HELLO cannot be served, tells it why, and waits for the next", async () => {
    using folder = new Folder();
    const journal = ["--journal", folder.file("journal")];
    const device = "sim:mlx5?size=64KiB";
    const to = `unix:${folder.file("socket")}`;
    const reasons = [
      "Cannot take 2 devices over: 1 was named here",
      "Cannot allocate 4503599627370496 bytes for DMA: the system does not have enough memory " +
      "(ENOMEM)",
      "Cannot map 1152921504606842880 bytes of memory: no process has room for so many",
    ];
    const taken = await receiving([device, "--listen", to, ...journal], async () => {
      const range = { iova: 1n << 20n, size: 4096n };
      const memories = [[[range], [range]], [[{ ...range, size: 1n << 52n }]], [[{
        ...range,
        size: 0xffffffffffff000n,
      }]]];
      for (const [index, memory] of memories.entries()) {
        const peer = new Peer(await connectUnix(to.slice("unix:".length)));
        const id = `${index}`.repeat(32);
        await peer.say({ type: "hello", id, memory, compress: null, streams: 1 });
        assert.deepEqual(await peer.hear(), { type: "refused", reason: reasons[index] });
        peer.close();
      }
      const words = ["--map", "0x100000:64KiB", "--to", to, "--downtime", "10min"];
      const { permissions } = migrate;
      const moved = await vfiokit(["migrate", device, ...words, ...journal], { permissions });
      assert.equal(moved.code, 0, moved.err);
    });
    assert.equal(taken.code, 0, taken.err);
    for (const reason of reasons) {
      assert.ok(taken.err.includes(`A connection was turned away: ${reason}\n`), taken.err);
    }
  });

  it("ends if a device cannot be opened, whoever connects", async () => {
    using folder = new Folder();
    const journal = ["--journal", folder.file("journal")];
    const socket = folder.file("socket");
    const taken = await receiving(
      ["fe:1f.7", "--listen", `unix:${socket}`, ...journal],
      async () => {
        const peer = new Peer(await connectUnix(socket));
        const memory = [[{ iova: 0n, size: 4096n }]];
        const id = "1".repeat(32);
        await peer.say({ type: "hello", id, memory, compress: null, streams: 1 });
        assert.equal((await peer.hear()).type, "refused");
        peer.close();
      },
    );
    assert.equal(taken.code, 3, taken.err);
    assert.doesNotMatch(taken.err, /turned away/);
  });

  it("refuses several streams to a program, which has one stdin", async () => {
    const words = ["--map", "0:4KiB", "--to", "exec:true", "--streams", "2"];
    const { code, err } = await vfiokit(["migrate", "sim:mlx5", ...words]);
    assert.equal(code, 2);
    assert.match(
      err,
      /Cannot use --streams 2 with "exec:true": stdin and stdout .* one connection/,
    );
  });

  it("refuses a device that cannot migrate with exit code 3, and connects to nobody", async () => {
    using folder = new Folder();
    const journal = ["--journal", folder.file("journal")];
    const to = ["--to", `unix:${folder.file("nobody")}`];
    const words = ["sim:none", "--map", "0x100000:1MiB", ...to, ...journal];
    const { code, err } = await vfiokit(["migrate", ...words]);
    assert.equal(code, 3, err);
    assert.match(err, /^vfiokit migrate: The device has no migration region .*\n +hint: /);
    assert.equal(existsSync(folder.file("journal")), false);
  });

  it("says how the program ended that it was to connect by", async () => {
    using folder = new Folder();
    const ends = [["false", 1], ["exit 127", 127], ["head -c 8 >/dev/null; exit 3", 3]] as const;
    for (const [program, status] of ends) {
      const words = ["--map", "0:4KiB", "--to", `exec:${program}`];
      const journal = ["--journal", folder.file("journal")];
      const { code, err } = await vfiokit(["migrate", "sim:mlx5", ...words, ...journal]);
      assert.equal(code, 1);
      assert.match(
        err,
        new RegExp(`is lost: the program ended with code ${status}; the device is running`),
      );
    }
  });

  it("leaves the device running if nobody listens", async () => {
    using folder = new Folder();
    const { code, err } = await vfiokit([
      "migrate",
      "sim:mlx5",
      "--map",
      "0:4KiB",
      "--to",
      `unix:${folder.file("nobody")}`,
      "--journal",
      folder.file("journal"),
    ]);
    assert.equal(code, 1);
    assert.match(err, /Cannot connect to .*nobody: ENOENT/);
  });

  it("names the options that help if it does not converge", async () => {
    using folder = new Folder();
    const device = "sim:mlx5?size=64KiB";
    const listen = ["--listen", `unix:${folder.file("socket")}`];
    const journal = ["--journal", folder.file("journal")];
    const { err: said } = await receiving([device, ...listen, ...journal], async () => {
      const map = ["--map", "0x100000:1MiB", "--tracker", "none"];
      const limits = ["--downtime", "0ms", "--max-rounds", "1"];
      const words = ["migrate", device, ...map, ...limits, "--to", listen[1]!, ...journal];
      const { code, err } = await vfiokit(words);
      assert.equal(code, 1);
      assert.match(err, /after 1 round 1\.\d MiB are left/);
      assert.match(
        err,
        /hint: Allow .*\(--downtime TIME, --on-no-converge stop, --owner-writes none\)/,
      );
    });
    assert.match(said, /Cannot receive the device/);
  });

  it("says in the events why it failed, and begins nothing if they cannot be written", async () => {
    using folder = new Folder();
    const other = net.createServer((socket) => socket.end());
    const socket = folder.file("socket");
    await new Promise<void>((resolve) => other.listen(socket, resolve));
    const words = ["migrate", "sim:mlx5", "--map", "0:4KiB", "--to", `unix:${socket}`];
    const journal = ["--journal", folder.file("journal")];
    const events = ["--events", folder.file("events")];
    const { permissions } = migrate;
    const failed = await vfiokit([...words, ...journal, ...events], { permissions });
    other.close();
    assert.equal(failed.code, 1);
    const { type, message } = eventsIn(folder.file("events")).at(-1)!;
    assert.equal(type, "failed");
    assert.match(String(message), /The connection to .* (has ended|is lost)/);
    const nowhere = await vfiokit([...words, ...journal, "--events", folder.file("no/events")]);
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.err, /Cannot write .*no\/events: .*(ENOENT|No such file)/);
    assert.equal(readdirSync(folder.file("journal")).length, 1);
  });

  it("writes what comes to a checkpoint, which restore takes, by --tee", async () => {
    using folder = new Folder();
    const [socket, file] = [folder.file("socket"), folder.file("a.vfk")];
    const journal = ["--journal", folder.file("journal")];
    const device = "sim:mlx5?size=64KiB";
    const words = [device, "--listen", `unix:${socket}`, "--tee", file, ...journal];
    const taken = await receiving([...words, "--json"], async () => {
      const map = ["--map", "0x100000:256KiB", "--downtime", "10min"];
      const line = ["migrate", device, ...map, "--to", `unix:${socket}`, ...journal];
      const moved = await vfiokit(line, { permissions: migrate.permissions });
      assert.equal(moved.code, 0, moved.err);
    });
    assert.equal(taken.code, 0, taken.err);
    const { tee, id, bytes } = JSON.parse(taken.out);
    assert.equal(tee, file);
    assert.match((await vfiokit(["show", file])).out, new RegExp(`number 0 of chain ${id}: all`));
    const restored = await vfiokit(["restore", device, file, "--json"], {
      permissions: restore.permissions,
    });
    assert.equal(restored.code, 0, restored.err);
    const { memoryBytes, bytes: state } = JSON.parse(restored.out);
    assert.deepEqual([memoryBytes, state], [bytes.memory, bytes.device]);
    const again = await vfiokit(["receive", ...words], { permissions: receive.permissions });
    assert.equal(again.code, 2);
    assert.match(again.err, /it exists, and --tee replaces nothing/);
  });

  it("takes only a file of its own for --tee", async () => {
    using folder = new Folder();
    const [fifo, link] = [folder.file("fifo"), folder.file("link")];
    execFileSync("mkfifo", [fifo]);
    symlinkSync(folder.file("nothing"), link);
    const socket = folder.file("socket");
    const journal = ["--journal", folder.file("journal")];
    const unix = `unix:${socket}`;
    for (
      const [tee, listen] of [
        ["-", unix],
        ["-", "-"],
        ["/dev/stdout", unix],
        ["/dev/null", unix],
        [fifo, unix],
        [link, unix],
      ] as const
    ) {
      const words = ["sim:mlx5?size=64KiB", "--listen", listen, "--tee", tee, ...journal];
      const { code, out, err } = await vfiokit(["receive", ...words], {
        permissions: receive.permissions,
      });
      assert.equal(code, 2, `${tee}: ${err}`);
      assert.equal(out, "");
      assert.match(err, /it exists, and --tee replaces nothing|--tee needs a regular file/);
    }
    assert.equal(existsSync(socket), false);
    assert.equal(existsSync(folder.file("nothing")), false);
  });

  it("decides from both journals by --resolve, and enters it", async () => {
    using folder = new Folder();
    const at = folder.file("journal");
    const source = Journal.create(at, ID, "source");
    source.add("commit");
    source.add("doubt");
    const destination = Journal.create(at, ID, "destination");
    destination.add("loaded");
    destination.add("doubt");
    const words = ["migrate", "--resolve", ID, "--journal", at];
    const open = await vfiokit(words);
    assert.equal(open.code, 0, open.err);
    assert.match(open.out, /the destination is to run/);
    destination.add("starting");
    destination.add("running");
    assert.match((await vfiokit(words)).out, /the source is to drop/);
    addDecision(journalPath(at, ID, "source"), "drop");
    source.add("done");
    assert.match((await vfiokit(words)).out, /the destination runs/);
    for (const journal of [source, destination]) journal[Symbol.dispose]();
  });

  it("is refused without a device, an address, or a migration's id", async () => {
    for (
      const [words, message] of [
        [[], /Expected a DEVICE/],
        [["sim:mlx5"], /Expected --to ADDRESS/],
        [["sim:mlx5", "--to", "there", "--journal", "/nowhere"], /an address is unix:PATH/],
        [["sim:mlx5", "--to", "tcp://127.0.0.1:1", "--journal", "/nowhere"], /Expected --key/],
        [["--resolve", "7", "--journal", "/nowhere"], /a migration's id is 32 hex digits/],
        [["sim:mlx5", "--resolve", ID], /it only decides/],
      ] as const
    ) {
      const { code, err } = await vfiokit(["migrate", ...words]);
      assert.equal(code, 2, err);
      assert.match(err, message);
    }
  });
});
