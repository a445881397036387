import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import process from "node:process";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { checkpoint } from "../../cli/specs/checkpoint/checkpoint.ts";
import { migrate } from "../../cli/specs/migrate/migrate.ts";
import { receive } from "../../cli/specs/migrate/receive.ts";
import { MFD_ALLOW_SEALING, sealSize } from "../../src/kernel/libc/seals.ts";
import { libc } from "../../src/kernel/libc/calls_with_errno.ts";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import { libcKernel } from "../../src/kernel/mod.ts";
import { receive as take, restoreChain, UnixListener, verifyChain } from "../../src/live/mod.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { Server } from "../../src/server/mod.ts";
import { until } from "../_until.ts";
import { NO_WRITE_PROTECTION } from "../_write_protection.ts";
import { command, IN_DENO, type Outcome, projectFile, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { receiving } from "./_receiving.ts";

const SIZE = 0x40000;
const MAPS = { iova: 0x100000n, size: BigInt(SIZE) };
const SHUT_RD = 0;
const NO_COMPILER = spawnSync("cc", ["--version"]).status === 0 ? false : "there is no C compiler";

/** The example of docs/attach.md in a language. */
function example(language: "c" | "ts"): string {
  const text = readFileSync(projectFile("docs/attach.md"), "utf8");
  return new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "ms").exec(text)![1]!;
}

/** A simulated device that outlives its owners, and its memory. */
class Lent implements AsyncDisposable {
  readonly channel: number;
  readonly memory: number;
  readonly #server: Server;
  readonly device: Device;

  private constructor(server: Server, channel: number, memory: number, device: Device) {
    this.#server = server;
    this.channel = channel;
    this.memory = memory;
    this.device = device;
  }

  static async open(spec: string): Promise<Lent> {
    const { server, channel } = await Server.lend(`sim:${spec}`);
    // Sealed, so that the server maps it, and its device writes there whatever this process does.
    const memory = libcKernel().memfd("owner", SIZE, MFD_ALLOW_SEALING);
    sealSize(memory);
    const maps = [{ ...MAPS, fd: memory }];
    return new Lent(server, channel, memory, await openDevice(`fd:${channel}`, { maps }));
  }

  bytes(): Promise<Uint8Array> {
    return this.device.readMemory(MAPS.iova, SIZE);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.device.close();
    await this.#server.stop();
    libcKernel().close(this.channel);
    libcKernel().close(this.memory);
  }
}

/** A program that runs, and what it prints. */
interface Program {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly out: string }>;
}

/** Starts the owner in C, which has the device and its memory as fds 3 and 4; it listens then. */
async function startOwner(program: string, socket: string, lent: Lent): Promise<Program> {
  const child = spawn(program, [socket, "3", "4"], {
    stdio: ["ignore", "pipe", "inherit", lent.channel, lent.memory],
  });
  let out = "";
  const listening = Promise.withResolvers<void>();
  child.stdout!.on("data", (chunk: Uint8Array) => {
    out += new TextDecoder().decode(chunk);
    if (out.includes("listening")) listening.resolve();
  });
  const ended = new Promise<{ code: number | null; out: string }>((resolve) => {
    child.once("close", (code) => resolve({ code, out }));
  });
  await Promise.race([listening.promise, ended]);
  return { child, ended };
}

/** Listens at a path, and plays an owner there that hands over a device and its memory. */
async function playOwner(path: string, lent: Lent, offers: object = {}): Promise<UnixSocket> {
  using listener = UnixSocket.listen(path, 1);
  return await handOver(listener, lent, offers);
}

/** Plays an owner to who connects next, and hands over a device and its memory. */
async function handOver(listener: UnixSocket, lent: Lent, offers = {}): Promise<UnixSocket> {
  let socket: UnixSocket | null = null;
  await until(() => (socket = listener.accept()) !== null, "vfiokit");
  const range = { iova: "0x100000", size: "0x40000", fd: 1, offset: 0 };
  const attach = { type: "attach", version: 1, device: 0, memory: [range], ...offers };
  const line = new TextEncoder().encode(`${JSON.stringify(attach)}\n`);
  assert.equal(socket!.sendWithFds(line, [lent.channel, lent.memory]), line.length);
  return socket!;
}

/** Plays one owner at a path, which hands over the next device at each connection. */
async function playOwnerOf(path: string, lent: readonly Lent[]): Promise<readonly UnixSocket[]> {
  using listener = UnixSocket.listen(path, lent.length);
  const owners: UnixSocket[] = [];
  for (const each of lent) owners.push(await handOver(listener, each));
  return owners;
}

/** Answers what an owner was asked. */
function answer(owner: UnixSocket, message: object): void {
  const line = new TextEncoder().encode(`${JSON.stringify(message)}\n`);
  assert.equal(owner.send(line), line.length);
}

/** What an owner hears, without the first message. */
function heard(
  owner: UnixSocket,
): { next(): Promise<{ readonly type: string; readonly reason?: string }> } {
  let text = "";
  const next = async (): Promise<{ type: string; reason?: string }> => {
    await until(() => {
      if (text.includes("\n")) return true;
      const into = new Uint8Array(4096);
      const length = owner.receive(into);
      assert.notEqual(length, 0, "the connection has ended");
      text += new TextDecoder().decode(into.subarray(0, length ?? 0));
      return false;
    }, "a message");
    const [line] = text.split("\n", 1) as [string];
    text = text.slice(line.length + 1);
    const message = JSON.parse(line);
    return message.type === "hello" ? await next() : message;
  };
  return { next };
}

/** Moves two devices whose owners are played: each is asked to be quiet, and hears how it ended. */
async function moveTwo(
  folder: Folder,
  { from, to, owning, asked = () => Promise.resolve() }: {
    /** The names of the devices on each side. */
    readonly from: readonly string[];
    readonly to: readonly string[];
    /** The owners on the source's side. */
    readonly owning: Promise<readonly UnixSocket[]>;
    /** What an owner does before it is quiet, by its number. */
    readonly asked?: (index: number) => Promise<void>;
  },
): Promise<void> {
  const journal = ["--journal", folder.file("journal")];
  const socket = `unix:${folder.file("socket")}`;
  let moved: Outcome | null = null;
  const taken = await receiving([...to, "--listen", socket, ...journal], async () => {
    const words = [...from, "--to", socket, "--downtime", "10min", ...journal];
    const moving = vfiokit(["migrate", ...words], { permissions: migrate.permissions });
    const owners = await owning;
    for (const [index, owner] of owners.entries()) {
      assert.equal((await heard(owner).next()).type, "quiesce");
      await asked(index);
      answer(owner, { type: "quiesced" });
    }
    for (const owner of owners) assert.equal((await heard(owner).next()).type, "committed");
    moved = await moving;
  });
  assert.equal(moved!.code, 0, moved!.err);
  assert.equal(taken.code, 0, taken.err);
}

/** Demands that devices have the memory of others, which have stopped, and run. */
async function assertMoved(pairs: readonly (readonly [Lent, Lent])[]): Promise<void> {
  for (const [from, to] of pairs) {
    assert.deepEqual(await to.bytes(), await from.bytes());
    assert.equal((await from.device.state()).state, "stop");
    assert.equal((await to.device.state()).state, "running");
  }
}

describe("a device that another program owns", () => {
  it("moves from a program in C to another, which are told", { skip: NO_COMPILER }, async () => {
    using folder = new Folder();
    const source = folder.file("owner.c");
    const program = folder.file("owner");
    writeFileSync(source, example("c"));
    const warnings = ["-Wall", "-Wextra", "-Werror", "-std=gnu11", "-O2"];
    const compiled = spawnSync("cc", [...warnings, source, "-o", program]);
    assert.equal(compiled.status, 0, compiled.stderr.toString());
    await using here = await Lent.open("mlx5?size=64KiB&dma=random:500/s");
    await using there = await Lent.open("mlx5?size=64KiB&seed=8");
    const [one, other] = [folder.file("one"), folder.file("other")];
    const [owner, taker] = [
      await startOwner(program, one, here),
      await startOwner(program, other, there),
    ];
    const socket = `unix:${folder.file("socket")}`;
    const journal = ["--journal", folder.file("journal")];
    let moved: Outcome | null = null;
    const taken = await receiving(
      [`attach:${other}`, "--listen", socket, ...journal],
      async () => {
        const words = [`attach:${one}`, "--to", socket, "--downtime", "10min", ...journal];
        // Its last write comes while it becomes quiet.
        if (NO_WRITE_PROTECTION === false) words.push("--owner-writes", "protect");
        moved = await vfiokit(["migrate", ...words], { permissions: migrate.permissions });
      },
      receive.permissions,
    );
    assert.equal(moved!.code, 0, moved!.err);
    assert.equal(taken.code, 0, taken.err);
    assert.match(moved!.out, /Downtime: .*quiesce/);
    for (const { ended } of [owner, taker]) {
      const { code, out } = await ended;
      assert.equal(code, 0);
      assert.match(out, /^listening\ncommitted /);
    }
    assert.deepEqual(await there.bytes(), await here.bytes());
    assert.equal((await here.device.state()).state, "stop");
    assert.equal((await there.device.state()).state, "running");
  });

  it(
    "runs on, and its owner in C hears why, if nobody listens",
    { skip: NO_COMPILER },
    async () => {
      using folder = new Folder();
      const program = folder.file("owner");
      writeFileSync(`${program}.c`, example("c"));
      assert.equal(spawnSync("cc", [`${program}.c`, "-o", program]).status, 0);
      await using here = await Lent.open("mlx5?size=64KiB");
      const socket = folder.file("socket");
      const owner = await startOwner(program, socket, here);
      const nobody = `unix:${folder.file("nobody")}`;
      const words = ["migrate", `attach:${socket}`, "--to", nobody, "--journal", folder.file("j")];
      const { code, err } = await vfiokit(words, { permissions: migrate.permissions });
      assert.equal(code, 1, err);
      const told = await owner.ended;
      assert.equal(told.code, 3);
      assert.match(told.out, /"type":"failed","reason":"Cannot connect to .*nobody/);
      assert.equal((await here.device.state()).state, "running");
    },
  );

  it("is not taken if its owner is gone by then: the source runs on", async () => {
    using folder = new Folder();
    await using here = await Lent.open("mlx5?size=64KiB");
    await using there = await Lent.open("mlx5?size=64KiB");
    const [one, other] = [folder.file("one"), folder.file("other")];
    const [owning, taking] = [playOwner(one, here), playOwner(other, there)];
    const socket = `unix:${folder.file("socket")}`;
    const journal = ["--journal", folder.file("journal")];
    let moved: Outcome | null = null;
    const taken = await receiving([`attach:${other}`, "--listen", socket, ...journal], async () => {
      (await taking).close();
      const words = ["migrate", `attach:${one}`, "--to", socket, ...journal];
      moved = await vfiokit(words, { permissions: migrate.permissions });
    });
    using _ = await owning;
    assert.equal(moved!.code, 1, moved!.err);
    assert.match(moved!.err, /the owner at .*other is gone/);
    assert.equal(taken.code, 1, taken.err);
    assert.match(taken.err, /the owner at .*other is gone/);
    assert.equal((await here.device.state()).state, "running");
  });

  it("is said to be nobody's if its owner cannot hear that it runs", async () => {
    using folder = new Folder();
    await using there = await Lent.open("mlx5?size=64KiB");
    const other = folder.file("other");
    const taking = playOwner(other, there);
    const socket = `unix:${folder.file("socket")}`;
    const journal = ["--journal", folder.file("journal")];
    let moved: Outcome | null = null;
    const waiting = [`attach:${other}`, "--listen", socket, "--json", ...journal];
    const taken = await receiving(waiting, async () => {
      // It takes nothing more, and has not ended the connection.
      assert.equal(libc().shutdown((await taking).fd, SHUT_RD), 0);
      const device = ["sim:mlx5?size=64KiB", "--map", "0x100000:256KiB"];
      const words = ["migrate", ...device, "--to", socket, ...journal];
      moved = await vfiokit(words, { permissions: migrate.permissions });
    });
    (await taking).close();
    assert.equal(moved!.code, 0, moved!.err);
    assert.equal(taken.code, 1, taken.err);
    assert.match(taken.err, /The device runs here, and the owner at .*other does not know/);
    const { error, devices } = JSON.parse(taken.out);
    assert.deepEqual([error.code, devices[0].state], ["owner-lost", "running"]);
    assert.equal((await there.device.state()).state, "running");
  });

  it("is not touched if it cannot be taken, and its owner hears why", async () => {
    using folder = new Folder();
    const taken = folder.file("taken");
    writeFileSync(taken, "");
    const move = ["migrate", "--to", "unix:/nowhere", "--journal", folder.file("journal")];
    const range = { iova: "0x100000", size: "0x40000", fd: 1, offset: 4096 };
    for (
      const [number, [words, offers, reason]] of ([
        [move, { memory: [range] }, /it ends before byte 266240/],
        [[...move, "--owner-writes", "reported"], {}, /no owner of the device offers it/],
        [["checkpoint", "-o", folder.file("c")], { memory: [range] }, /it ends before byte 266240/],
        [["checkpoint", "-o", taken], {}, /taken/],
      ] as const).entries()
    ) {
      await using here = await Lent.open("mlx5?size=64KiB");
      const path = folder.file(`owner${number}`);
      const owning = playOwner(path, here, offers);
      const { code, err } = await vfiokit([words[0], `attach:${path}`, ...words.slice(1)]);
      using owner = await owning;
      assert.notEqual(code, 0);
      assert.match(err, reason);
      const { type, reason: told } = await heard(owner).next();
      assert.equal(type, "failed");
      assert.match(told!, reason);
      assert.equal((await here.device.state()).state, "running");
    }
  });

  it("has no more checkpoints taken of it once its owner is gone", async () => {
    using folder = new Folder();
    await using here = await Lent.open("mlx5?size=64KiB");
    const path = folder.file("owner");
    const owning = playOwner(path, here);
    const words = ["checkpoint", `attach:${path}`, "--every", "100ms", "-o", folder.file("c")];
    const ended = vfiokit(words);
    const owner = await owning;
    const lines = heard(owner);
    assert.equal((await lines.next()).type, "quiesce");
    answer(owner, { type: "quiesced" });
    assert.equal((await lines.next()).type, "resume");
    owner.close();
    const { code, out, err } = await ended;
    assert.equal(code, 1, err);
    assert.match(out, /^.*000000.vfk: full.*\n$/);
    assert.match(err, /the owner at .*owner (is gone|has ended the connection)/);
    assert.equal((await here.device.state()).state, "running");
  });

  it("has checkpoints taken of it, each with its owner's last write", async () => {
    using folder = new Folder();
    await using here = await Lent.open("mlx5?size=64KiB");
    const [path, chain] = [folder.file("owner"), folder.file("chain")];
    const owning = playOwner(path, here);
    const words = ["checkpoint", `attach:${path}`, "--every", "1ms", "--count", "2", "-o", chain];
    const ended = vfiokit(words, { permissions: checkpoint.permissions });
    using owner = await owning;
    const lines = heard(owner);
    const contents: Uint8Array[] = [];
    for (const written of ["the first", "the second"]) {
      assert.equal((await lines.next()).type, "quiesce");
      await here.device.writeMemory(MAPS.iova, new TextEncoder().encode(written));
      contents.push(await here.bytes());
      answer(owner, { type: "quiesced" });
      assert.equal((await lines.next()).type, "resume");
    }
    const { code, err } = await ended;
    assert.equal(code, 0, err);
    // It hears no more: the device is its own.
    assert.equal(owner.receive(new Uint8Array(1)), 0);
    assert.equal((await here.device.state()).state, "running");
    for (const [number, content] of contents.entries()) {
      const verified = await verifyChain(chain, { number });
      const name = "sim:mlx5?size=64KiB&seed=9";
      await using restored = await openDevice(name, { maps: verified.memory[0]!.ranges });
      await restoreChain(restored, verified);
      assert.deepEqual(await restored.readMemory(MAPS.iova, SIZE), content);
    }
  });

  it("is throttled by its owner until what is left fits", async () => {
    using folder = new Folder();
    await using here = await Lent.open("mlx5?size=64KiB");
    const [path, journal] = [folder.file("owner"), folder.file("journal")];
    using listener = await UnixListener.listen(folder.file("socket"));
    const owning = playOwner(path, here, { dirty: true, throttle: true });
    const ended = vfiokit([
      ...["migrate", `attach:${path}`, "--to", `unix:${listener.path}`, "--journal", journal],
      ...["--owner-writes", "reported", "--on-no-converge", "throttle"],
      ...["--downtime", "0ms", "--max-rounds", "2"],
    ], { permissions: migrate.permissions });
    using owner = await owning;
    const receiving = listener.next().then((connection) =>
      take(
        connection,
        ([ranges]) => openDevices(["sim:mlx5?size=64KiB&seed=8"], { maps: ranges }),
        { journal },
      )
    );
    const lines = heard(owner);
    const types: string[] = [];
    let [throttled, writes] = [0, 0];
    while (types.at(-1) !== "committed") {
      const { type, reason } = await lines.next();
      types.push(type);
      assert.notEqual(type, "failed", `${reason}`);
      if (type === "dirty") {
        // It writes in each round, until it was throttled twice; and once more, late.
        const writing = throttled < 2 || types.includes("quiesce");
        const iova = MAPS.iova + 4096n * BigInt(writes);
        if (writing) await here.device.writeMemory(iova, new Uint8Array([++writes]));
        const ranges = writing ? [{ iova: `0x${iova.toString(16)}`, size: "0x1" }] : [];
        answer(owner, { type: "dirty", ranges });
      } else if (type === "throttle") {
        throttled += 1;
        answer(owner, { type: "throttled", slower: true });
      } else if (type === "quiesce") answer(owner, { type: "quiesced" });
    }
    const { code, err } = await ended;
    assert.equal(code, 0, err);
    assert.equal(
      types.join(" "),
      // At the beginning, and in each round.
      "dirty dirty dirty throttle dirty throttle dirty quiesce dirty committed",
    );
    const { devices } = await receiving;
    await using _ = devices;
    assert.deepEqual(await devices[0]!.readMemory(MAPS.iova, SIZE), await here.bytes());
    assert.equal((await here.device.state()).state, "stop");
  });

  it("moves with another one, of another program; each is quiet before one stops", async () => {
    using folder = new Folder();
    await using one = await Lent.open("mlx5?size=64KiB&dma=random:500/s");
    await using two = await Lent.open("mlx5?size=64KiB&seed=2&dma=random:500/s");
    await using third = await Lent.open("mlx5?size=64KiB&seed=3");
    await using fourth = await Lent.open("mlx5?size=64KiB&seed=4");
    const lent = [one, two, third, fourth] as const;
    const paths = lent.map((_, index) => folder.file(`owner${index}`));
    const names = paths.map((path) => `attach:${path}`);
    const owning = lent.map((each, index) => playOwner(paths[index]!, each));
    await moveTwo(folder, {
      from: names.slice(0, 2),
      to: names.slice(2),
      owning: Promise.all(owning.slice(0, 2)),
      asked: async (index) => {
        // None has stopped as long as one is not quiet.
        for (const { device } of [one, two]) assert.equal((await device.state()).state, "pre-copy");
        await lent[index]!.device.writeMemory(MAPS.iova, new TextEncoder().encode("the last"));
      },
    });
    await assertMoved([[one, third], [two, fourth]]);
    for (const owner of await Promise.all(owning.slice(2))) {
      assert.equal((await heard(owner).next()).type, "committed");
    }
    for (const owner of await Promise.all(owning)) owner.close();
  });

  it("moves with another one of the same program, which has both at one path", async () => {
    using folder = new Folder();
    await using one = await Lent.open("mlx5?size=64KiB");
    await using two = await Lent.open("mlx5?size=32KiB&seed=2");
    await using third = await Lent.open("mlx5?size=64KiB&seed=3");
    await using fourth = await Lent.open("mlx5?size=32KiB&seed=4");
    await one.device.writeMemory(MAPS.iova, new TextEncoder().encode("of one"));
    await two.device.writeMemory(MAPS.iova, new TextEncoder().encode("of two"));
    const [from, to] = [folder.file("from"), folder.file("to")];
    const owning = [playOwnerOf(from, [one, two]), playOwnerOf(to, [third, fourth])] as const;
    await moveTwo(folder, {
      from: [`attach:${from}`, `attach:${from}`],
      to: [`attach:${to}`, `attach:${to}`],
      owning: owning[0],
    });
    await assertMoved([[one, third], [two, fourth]]);
    for (const owner of (await Promise.all(owning)).flat()) owner.close();
  });

  it("is not moved with another one that has the same memory, nor twice", async () => {
    using folder = new Folder();
    await using one = await Lent.open("mlx5?size=64KiB");
    const paths = [folder.file("one"), folder.file("two")] as const;
    const owning = paths.map((path) => playOwner(path, one));
    const names = paths.map((path) => `attach:${path}`);
    const { code, err } = await vfiokit(["checkpoint", ...names, "-o", folder.file("c")], {
      permissions: checkpoint.permissions,
    });
    assert.match(err, /Cannot use "attach:.*one" with "attach:.*two": they share memory/);
    assert.equal(code, 2);
    for (const owner of await Promise.all(owning)) {
      assert.equal((await heard(owner).next()).type, "failed");
      owner.close();
    }
  });

  it("runs on, as the others do, if one of several owners does not become quiet", async () => {
    using folder = new Folder();
    await using one = await Lent.open("mlx5?size=64KiB");
    await using two = await Lent.open("mlx5?size=64KiB&seed=2");
    const paths = [folder.file("one"), folder.file("two")] as const;
    const owning = [playOwner(paths[0], one), playOwner(paths[1], two)];
    using listener = await UnixListener.listen(folder.file("socket"));
    const ended = vfiokit([
      ...["migrate", `attach:${paths[0]}`, `attach:${paths[1]}`, "--to", `unix:${listener.path}`],
      ...["--downtime", "10min", "--journal", folder.file("journal")],
    ], { permissions: migrate.permissions });
    const [quiet, loud] = await Promise.all(owning) as [UnixSocket, UnixSocket];
    const receiving = listener.next().then((connection) =>
      take(
        connection,
        ([ranges]) => openDevices(["sim:mlx5?size=64KiB", "sim:mlx5?size=64KiB"], { maps: ranges }),
        { journal: folder.file("journal") },
      )
    );
    receiving.catch(() => {});
    const lines = [heard(quiet), heard(loud)];
    for (const each of lines) assert.equal((await each.next()).type, "quiesce");
    answer(quiet, { type: "quiesced" });
    answer(loud, { type: "no" });
    for (const each of lines) {
      assert.equal((await each.next()).type, "resume");
      const { type, reason } = await each.next();
      assert.equal(type, "failed");
      assert.match(reason!, /the owner at .*two does not speak this protocol/);
    }
    const { code, err } = await ended;
    assert.equal(code, 1, err);
    await assert.rejects(receiving);
    for (const { device } of [one, two]) assert.equal((await device.state()).state, "running");
    quiet.close();
    loud.close();
  });

  it("tells a program at once that it does not offer what it is to do", async () => {
    using folder = new Folder();
    const printed = folder.file("printed");
    // It ends once this test has read the reason.
    const script = `while read -r line <&$VFIOKIT_ATTACH_FD; do
        echo "$line"
        case "$line" in
          *hello*) echo '{"type":"attach","version":1}' >&$VFIOKIT_ATTACH_FD;;
          *failed*) until [ -e "$1" ]; do sleep 0.05; done; exit 0;;
        esac
      done; exit 9`;
    const { code, out, err } = await vfiokit([
      ...["migrate", "sim:mlx5?size=64KiB", "--map", "0x100000:64KiB", "--to", "unix:/nowhere"],
      ...["--owner-writes", "reported", "--journal", folder.file("journal")],
      ...["--", "bash", "-c", script, "bash", printed],
    ], {
      started(child): void {
        let text = "";
        child.stderr!.on("data", (chunk: Uint8Array) => {
          text += new TextDecoder().decode(chunk);
          if (text.includes("no owner of the device offers it")) writeFileSync(printed, "");
        });
      },
    });
    assert.equal(code, 2, err);
    const told = out.trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(told.map(({ type }) => type), ["hello", "failed"]);
    assert.match(told[1].reason, /no owner of the device offers it/);
  });

  it("moves from a program in TypeScript that starts vfiokit and reports its writes", async () => {
    using folder = new Folder();
    const script = folder.file("owner.ts");
    const url = (path: string): string => pathToFileURL(projectFile(path)).href;
    writeFileSync(
      script,
      example("ts").replace('"vfiokit/kernel"', `"${url("src/kernel/mod.ts")}"`)
        .replace('"vfiokit"', `"${url("mod.ts")}"`),
    );
    const runtime = IN_DENO
      ? [process.execPath, "run", "-A", "--no-check", script]
      : [process.execPath, "run", script];
    const memory = folder.file("memory");
    writeFileSync(memory, new Uint8Array(SIZE));
    const socket = `unix:${folder.file("socket")}`;
    const journal = ["--journal", folder.file("journal")];
    const device = "sim:mlx5?size=64KiB";
    let moved: Outcome | null = null;
    const taken = await receiving(
      [device, "--listen", socket, "--map", `0x100000:256KiB@${memory}`, ...journal],
      async () => {
        const words = ["migrate", "attach:fd:3", "--to", socket, "--downtime", "10min"];
        words.push("--owner-writes", "reported", ...journal);
        moved = await vfiokit([
          ...["with", device, "--", ...runtime, "fd:3"],
          ...[...command({ permissions: migrate.permissions }), ...words],
        ]);
      },
    );
    assert.equal(moved!.code, 0, moved!.err);
    assert.equal(taken.code, 0, taken.err);
    const bytes = readFileSync(memory);
    assert.equal(bytes.toString("latin1", 0x5000, 0x500e), "the last write");
    assert.match(moved!.err, /was left in state stop/);
  });

  it("moves while a program uses it that vfiokit runs, and that is asked", async () => {
    using folder = new Folder();
    const socket = folder.file("socket");
    const journal = ["--journal", folder.file("journal")];
    const device = "sim:mlx5?size=64KiB";
    // A shell that speaks the protocol on its inherited socket.
    const attached = folder.file("attached");
    const script = `while read -r line <&$VFIOKIT_ATTACH_FD; do
        echo "$line"
        case "$line" in
          *hello*) echo '{"type":"attach","version":1}' >&$VFIOKIT_ATTACH_FD; : > "${attached}";;
          *quiesce*) echo '{"type":"quiesced"}' >&$VFIOKIT_ATTACH_FD;;
          *committed*) exit 0;;
        esac
      done; exit 9`;
    // The migration waits here for the program, which else might be asked nothing.
    const door = folder.file("door");
    const waiting = createServer({ allowHalfOpen: true }, async (peer) => {
      await until(() => existsSync(attached), "the program attaches");
      peer.pipe(connect({ path: socket, allowHalfOpen: true })).pipe(peer);
    });
    await new Promise<void>((resolve) => waiting.listen(door, resolve));
    let moved: Outcome | null = null;
    let taken: Outcome;
    try {
      taken = await receiving([device, "--listen", `unix:${socket}`, ...journal], async () => {
        moved = await vfiokit([
          ...["migrate", device, "--map", "0x100000:64KiB", "--to", `unix:${door}`],
          ...["--downtime", "10min", ...journal, "--", "bash", "-c", script],
        ], { permissions: [...migrate.permissions, "--allow-run"] });
      });
    } finally {
      waiting.close();
    }
    assert.equal(moved!.code, 0, moved!.err);
    assert.equal(taken.code, 0, taken.err);
    assert.deepEqual(
      moved!.out.trim().split("\n").map((line) => JSON.parse(line).type),
      ["hello", "quiesce", "committed"],
    );
  });

  it("moves while a program uses it that says nothing, and ends when that has ended", async () => {
    using folder = new Folder();
    const socket = `unix:${folder.file("socket")}`;
    const journal = ["--journal", folder.file("journal")];
    const device = "sim:mlx5?size=64KiB";
    let moved: Outcome | null = null;
    const taken = await receiving([device, "--listen", socket, ...journal], async () => {
      moved = await vfiokit([
        ...["migrate", device, "--map", "0x100000:64KiB", "--to", socket, "--downtime", "10min"],
        ...[...journal, "--", "sh", "-c", "exit 7"],
      ], { permissions: [...migrate.permissions, "--allow-run"] });
    });
    assert.equal(moved!.code, 7, moved!.err);
    assert.equal(taken.code, 0, taken.err);
    assert.match(moved!.err, /^Moved sim:mlx5/m);
  });

  it("does not move if the program cannot be started", async () => {
    using folder = new Folder();
    const reached = folder.file("reached");
    for (const [program, exitCode] of [["no-such-program-of-ours", 127], ["/", 126]] as const) {
      const { code, out, err } = await vfiokit([
        ...["migrate", "sim:mlx5?size=64KiB", "--map", "0x100000:64KiB", "--to"],
        ...[`exec:touch ${reached}`, "--journal", folder.file("journal"), "--", program],
      ], { permissions: [...migrate.permissions, "--allow-run"] });
      assert.equal(code, exitCode, err);
      assert.equal(out, "");
      assert.match(err, /^vfiokit: Cannot run "/);
      assert.equal(existsSync(reached), false, err);
    }
  });

  it("runs on here after a signal, which the program gets too", async () => {
    using folder = new Folder();
    const socket = folder.file("socket");
    let pid = 0;
    // It takes what the migration begins with, and never answers.
    const silent = createServer((peer) => {
      peer.once("data", () => process.kill(pid, "SIGTERM"));
      peer.on("error", () => {});
    });
    await new Promise<void>((resolve) => silent.listen(socket, resolve));
    try {
      const { code, err } = await vfiokit([
        ...["migrate", "sim:mlx5?size=64KiB", "--map", "0x100000:64KiB", "--to", `unix:${socket}`],
        ...["--journal", folder.file("journal"), "--json", "--", "sleep", "1000"],
      ], {
        permissions: [...migrate.permissions, "--allow-run"],
        started: (child) => void (pid = child.pid!),
      });
      assert.equal(code, 143, err);
      const { error } = JSON.parse(err.slice(err.indexOf("{")));
      assert.equal(error.code, "interrupted");
      assert.equal(error.deviceState, "running");
      assert.match(error.message, /Interrupted by SIGTERM/);
    } finally {
      silent.close();
    }
  });

  it("is refused where it does not fit", async () => {
    using folder = new Folder();
    const to = ["--to", "unix:/nowhere", "--journal", folder.file("journal")];
    const nobody = `attach:${folder.file("nobody")}`;
    for (
      const [words, code, message] of [
        [[nobody, ...to], 1, /Cannot connect to the owner at .*nobody: .*ENOENT/],
        [["attach:fd:0", ...to], 1, /the owner at fd 0/],
        [["attach:fd:0", "attach:fd:0", ...to], 2, /Cannot use "attach:fd:0" twice/],
        [[nobody, "sim:mlx5", ...to], 2, /other programs own all devices, or none/],
        [[nobody, "--map", "0:4KiB", ...to], 2, /its owner has device and memory/],
        [[nobody, ...to, "--", "true"], 2, /its owner has device and memory/],
        [["sim:mlx5", "--map", "0:4KiB", "--owner-writes", "reported", ...to], 2, /no owner/],
        [["sim:mlx5", "--map", "0:4KiB", "--on-no-converge", "throttle", ...to], 2, /no owner/],
        ...(NO_WRITE_PROTECTION !== false ? [] : [
          [["sim:mlx5", "--map", "0:4KiB", "--owner-writes", "protect", ...to], 2, /no owner/],
        ] as const),
      ] as const
    ) {
      const { code: ended, err } = await vfiokit(["migrate", ...words]);
      assert.match(err, message);
      assert.equal(ended, code, err);
    }
  });
});
