import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { libcKernel } from "../../src/kernel/mod.ts";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import { AttachedOwner, LiveError } from "../../src/live/mod.ts";
import { until } from "../_until.ts";

type Line = Readonly<Record<string, unknown>>;

/** An owner that a test plays, at the other end of the socket. */
class PlayedOwner implements Disposable {
  readonly #socket: UnixSocket;
  #text = "";

  constructor(socket: UnixSocket) {
    this.#socket = socket;
  }

  say(line: Line | string, fds: readonly number[] = []): void {
    const text = typeof line === "string" ? line : `${JSON.stringify(line)}\n`;
    const bytes = new TextEncoder().encode(text);
    const first = bytes.slice(0, 60_000);
    const send = (): number =>
      fds.length === 0 ? this.#socket.send(first) : this.#socket.sendWithFds(first, fds);
    assert.equal(send(), first.length);
    if (bytes.length > first.length) {
      assert.ok(this.#socket.send(bytes.slice(first.length)) > 0);
    }
  }

  /** The next message. */
  async hear(): Promise<Line> {
    await until(() => {
      const into = new Uint8Array(4096);
      const length = this.#socket.receive(into);
      if (length !== null) this.#text += new TextDecoder().decode(into.subarray(0, length));
      return this.#text.includes("\n");
    }, "a message");
    const end = this.#text.indexOf("\n");
    const line = JSON.parse(this.#text.slice(0, end));
    this.#text = this.#text.slice(end + 1);
    return line;
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

const MEMORY = [{ iova: "0x100000", size: "0x2000", fd: 1, offset: 4096 }];

/** Attaches to an owner that answers `hello` by this. */
async function attached(
  play: (owner: PlayedOwner) => void,
  use: (owner: AttachedOwner, played: PlayedOwner) => Promise<void>,
  timeoutMs?: number,
): Promise<void> {
  const [ours, theirs] = UnixSocket.pair();
  using played = new PlayedOwner(theirs);
  const attaching = AttachedOwner.over(ours.fd, { purpose: "migrate", timeoutMs });
  attaching.catch(() => {});
  assert.deepEqual(await played.hear(), { type: "hello", version: 1, for: "migrate" });
  play(played);
  using owner = await attaching;
  await use(owner, played);
}

/** The fds of a device and its memory, for as long as `use` takes. */
async function withFds(use: (fds: readonly number[]) => Promise<void>): Promise<void> {
  const kernel = libcKernel();
  const fds = [kernel.memfd("device", 4096), kernel.memfd("memory", 0x4000)];
  try {
    await use(fds);
  } finally {
    for (const fd of fds) kernel.close(fd);
  }
}

describe("the attach protocol", () => {
  it("takes a device and its memory, in pieces too, and asks what the owner offers", async () => {
    await withFds(async (fds) => {
      const mapped = [{ iova: "0x100000", size: "0x2000", address: "0x7f0000001000" }];
      const offers = { dirty: true, pagemap: 1, mapped };
      const text = `${
        JSON.stringify({ type: "attach", version: 1, device: 0, memory: MEMORY, ...offers })
      }\n`;
      await attached((owner) => {
        owner.say(text.slice(0, 9), fds);
        owner.say(text.slice(9));
      }, async (owner, played) => {
        const { device, dirty, throttle } = await owner.attached();
        assert.deepEqual([dirty, throttle], [true, false]);
        const { pagemap, ranges } = owner.protectedMemory();
        assert.deepEqual(ranges, [{ iova: 0x100000n, size: 0x2000n, address: 0x7f0000001000n }]);
        assert.ok(pagemap >= 0 && !fds.includes(pagemap) && pagemap !== device!.device);
        const { mappings, group, iommufd, ioas } = device!;
        assert.deepEqual([group, iommufd, ioas], [null, null, null]);
        const [{ iova, size, offset, fd }] = mappings as unknown as [typeof mappings[0]];
        assert.deepEqual([iova, size, offset], [0x100000n, 0x2000n, 4096]);
        // It is the same file, by another fd.
        libcKernel().pwrite(fds[1]!, new Uint8Array([7]), 5000);
        const byte = new Uint8Array(1);
        libcKernel().pread(fd!, byte, 5000);
        assert.deepEqual([byte[0], fds.includes(fd!)], [7, false]);

        const quiet = owner.quiesce();
        assert.deepEqual(await played.hear(), { type: "quiesce" });
        played.say({ type: "quiesced" });
        await quiet;
        const dirtied = owner.dirty();
        assert.deepEqual(await played.hear(), { type: "dirty" });
        played.say({ type: "dirty", ranges: [{ iova: "0x100010", size: "0x8" }] });
        assert.deepEqual(await dirtied, [{ iova: 0x100010n, size: 8n }]);
        const throttled = owner.throttle();
        assert.deepEqual(await played.hear(), { type: "throttle" });
        played.say({ type: "throttled", slower: false });
        assert.equal(await throttled, false);
        await owner.resume();
        assert.equal(owner.tell("failed", "it did"), true);
        assert.deepEqual(await played.hear(), { type: "resume" });
        assert.deepEqual(await played.hear(), { type: "failed", reason: "it did" });
        // It hears once how it ended.
        assert.equal(owner.tell("failed", "again"), false);
        assert.equal(owner.tell("resume"), false);
      });
    });
  });

  it("refuses an owner that says what it must not", async () => {
    await withFds(async (fds) => {
      const attach = { type: "attach", version: 1, device: 0, memory: MEMORY };
      const range = { iova: "0x0", size: "0x1000", fd: 1, offset: 0 };
      for (
        const [line, message] of [
          ["garbage\n", /it is not JSON in UTF-8/],
          ["[1]\n", /it is not an object/],
          ["x".repeat(70_000), /sends a message of more than 65536 bytes/],
          [{ ...attach, type: "hi" }, /it begins with hi/],
          [{ ...attach, version: 2 }, /it speaks version 2/],
          [{ type: "attach", version: 1 }, /hands over no device/],
          [{ ...attach, device: 2 }, /device is not one of the 2 fds that came with it/],
          [{ ...attach, device: "0" }, /device is not a whole number/],
          [{ ...attach, memory: [{ ...range, size: "0x0" }] }, /memory\[0\].size is wrong/],
          [{ ...attach, memory: Array(1025).fill(range) }, /memory is not a list of at most 1024/],
          [{ ...attach, dirty: "yes" }, /dirty is not true or false/],
          [{ ...attach, ioas: 1 }, /iommufd and ioas go together/],
          [{ ...attach, container: 1 }, /group and container go together/],
          [
            { ...attach, group: 0, container: 0, iommufd: 0, ioas: 1 },
            /a device has a container or an iommufd/,
          ],
          [{ ...attach, pagemap: 1 }, /mapped is not a list of at most 1024/],
          [{ ...attach, pagemap: 2, mapped: [] }, /pagemap is not one of the 2 fds/],
          [
            { ...attach, pagemap: 1, mapped: [{ ...range, address: "0xfffffffffffff001" }] },
            /mapped\[0\].address is wrong/,
          ],
        ] as const
      ) {
        await assert.rejects(
          attached((owner) => owner.say(line, fds), () => assert.fail("it was attached")),
          (error) =>
            error instanceof LiveError && error.code === "owner-protocol" &&
            message.test(error.message),
          `${message}`,
        );
      }
    });
  });

  it("gives an owner up that does not answer, or is gone", async () => {
    await withFds(async (fds) => {
      const attach = { type: "attach", version: 1, device: 0, memory: [] };
      await attached((owner) => owner.say(attach, fds), async (owner, played) => {
        await assert.rejects(
          owner.quiesce(),
          (error) => error instanceof LiveError && error.code === "owner-timeout",
        );
        // It is asked nothing more, so that a late answer is not taken for another; it is told.
        await assert.rejects(owner.dirty(), /did not answer for 0.05 seconds/);
        assert.deepEqual(await played.hear(), { type: "quiesce" });
        await owner.resume();
        assert.deepEqual(await played.hear(), { type: "resume" });
      }, 50);
      await attached((owner) => owner.say(attach, fds), async (owner, played) => {
        const quiet = owner.quiesce();
        quiet.catch(() => {});
        await played.hear();
        played[Symbol.dispose]();
        await assert.rejects(
          quiet,
          (error) => error instanceof LiveError && error.code === "owner-lost",
        );
        assert.equal(owner.tell("committed"), false);
        assert.throws(() => owner.demandConnected(), /has ended the connection/);
      });
      await assert.rejects(
        attached((owner) => owner[Symbol.dispose](), () => assert.fail("it was attached")),
        /the owner at fd \d+ has ended the connection/,
      );
    });
  });

  it("sees that an owner is gone that is asked nothing", async () => {
    await withFds(async (fds) => {
      const attach = { type: "attach", version: 1, device: 0, memory: [] };
      await attached((owner) => owner.say(attach, fds), (owner, played) => {
        owner.demandConnected();
        // What it says is no end.
        played.say("{}\n");
        owner.demandConnected();
        played.say("{}\n");
        played[Symbol.dispose]();
        assert.throws(
          () => owner.demandConnected(),
          (error) => error instanceof LiveError && error.code === "owner-lost",
        );
        return Promise.resolve();
      });
      await attached((owner) => owner.say(attach, fds), (owner, played) => {
        for (let sent = 0; sent < 2; sent++) played.say("x".repeat(60_000));
        assert.throws(() => owner.demandConnected(), /a message of more than 65536 bytes/);
        return Promise.resolve();
      });
    });
  });

  it("closes the fds that came when it is closed", async () => {
    await withFds(async (fds) => {
      const attach = { type: "attach", version: 1, device: 0, memory: MEMORY };
      let [mine, memory] = [-1, ""];
      await attached((owner) => owner.say(attach, fds), async (owner) => {
        mine = (await owner.attached()).device!.mappings[0]!.fd!;
        memory = libcKernel().readLink(`/proc/self/fd/${mine}`);
      });
      assert.match(memory, /memfd:memory/);
      let left: string | null = null;
      try {
        left = libcKernel().readLink(`/proc/self/fd/${mine}`);
      } catch {
        // It is no file's number any more; another file may have got it as well.
      }
      assert.notEqual(left, memory);
    });
  });

  it("asks a program nothing that was lent the socket and says nothing", async () => {
    const { owner, fd } = AttachedOwner.lend({ purpose: "migrate" });
    using _ = owner;
    await owner.quiesce();
    await owner.resume();
    using played = new PlayedOwner(UnixSocket.adopt(fd));
    assert.deepEqual(await played.hear(), { type: "hello", version: 1, for: "migrate" });
    played.say({ type: "attach", version: 1, throttle: true });
    assert.deepEqual(await owner.attached(), {
      ...{ device: null, dirty: false, protectedMemory: null, throttle: true },
    });
    assert.throws(() => owner.protectedMemory(), /the program does not write-protect its memory/);
    const quiet = owner.quiesce();
    assert.deepEqual(await played.hear(), { type: "quiesce" });
    played.say({ type: "quiesced" });
    await quiet;
  });
});
