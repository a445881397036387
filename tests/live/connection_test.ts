import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { once } from "node:events";
import * as net from "node:net";
import { describe, it } from "node:test";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import { libcKernel, O_RDONLY } from "../../src/kernel/mod.ts";
import {
  type Connection,
  connectUnix,
  LiveError,
  streamConnection,
  UnixListener,
} from "../../src/live/mod.ts";
import { assertHeldBack } from "./_behind.ts";
import { socketPair, streamPair, withFolder } from "./_pair.ts";

/** Reads until the room is full, or the end. */
async function readAll(connection: Connection, into: Uint8Array): Promise<number> {
  let at = 0;
  while (at < into.length) {
    const count = await connection.read(into.subarray(at));
    if (count === 0) break;
    at += count;
  }
  return at;
}

for (const [what, ends] of [["a unix socket", socketPair], ["streams", streamPair]] as const) {
  describe(`a connection over ${what}`, () => {
    it("carries bytes in order, in parts of any size", async () => {
      await withFolder(async (folder) => {
        const [one, other] = await ends(folder);
        const sent = new Uint8Array(3_000_017);
        for (let at = 0; at < sent.length; at++) sent[at] = at * 7 + (at >> 9);
        const writing = one.write(sent).then(() => one.write(new Uint8Array([1, 2, 3])));
        const taken = new Uint8Array(sent.length);
        assert.equal(await readAll(other, taken.subarray(0, 1)), 1);
        assert.equal(await readAll(other, taken.subarray(1, 34)), 33);
        assert.equal(await readAll(other, taken.subarray(34)), sent.length - 34);
        assert.deepEqual(taken, sent);
        const rest = new Uint8Array(8);
        assert.equal(await readAll(other, rest.subarray(0, 3)), 3);
        assert.deepEqual([...rest], [1, 2, 3, 0, 0, 0, 0, 0]);
        await writing;
        one.close();
        assert.equal(await other.read(rest), 0);
        other.close();
      });
    });

    it("still delivers what was sent before it was closed", async () => {
      await withFolder(async (folder) => {
        const [one, other] = await ends(folder);
        const size = 4_000_000;
        const writing = one.write(new Uint8Array(size).fill(5)).then(() => one.close());
        // Small parts: much has still to be read when it is closed.
        const part = new Uint8Array(1000);
        let total = 0;
        for (let count = 1; count > 0; total += count) count = await other.read(part);
        assert.equal(total, size);
        await writing;
        other.close();
      });
    });

    it("holds the writer back if nobody reads", async () => {
      await withFolder(async (folder) => {
        const [one, other] = await ends(folder);
        await assertHeldBack(one, other);
        one.close();
        other.close();
      });
    });

    it("refuses to send once the other end is gone", async () => {
      await withFolder(async (folder) => {
        const [one, other] = await ends(folder);
        other.close();
        const writing = (async (): Promise<void> => {
          for (;;) await one.write(new Uint8Array(65_536));
        })();
        await assert.rejects(writing, { name: "LiveError", code: "connection-lost" });
        one.close();
      });
    });

    it("ends what it waits for when it is closed", async () => {
      await withFolder(async (folder) => {
        const [one, other] = await ends(folder);
        const reading = one.read(new Uint8Array(8)).catch((error) => error.code);
        one.close();
        assert.ok([0, "connection-lost"].includes(await reading));
        other.close();
      });
    });
  });
}

/** The fd of this process that listens at a socket which was made there, or beside it. */
function listeningFd(path: string): number {
  const line = fs.readFileSync("/proc/net/unix", "utf8").split("\n").find((each) =>
    each.includes(` ${path}`)
  )!;
  const inode = line.trim().split(/\s+/)[6];
  return Number(
    fs.readdirSync("/proc/self/fd").find((fd) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`) === `socket:[${inode}]`;
      } catch {
        return false;
      }
    }),
  );
}

it("a socket at which no connection can be accepted says so to who waits", async () => {
  await withFolder(async (folder) => {
    using listener = await UnixListener.listen(join(folder, "listening"));
    const kernel = libcKernel();
    const nothing = kernel.open("/dev/null", O_RDONLY);
    const fd = listeningFd(listener.path);
    using _ = UnixSocket.connect(listener.path);
    // What is ready now is no socket any more to accept from.
    kernel.dup3(nothing, fd);
    kernel.close(nothing);
    const failure = { code: "connection-lost", message: /listening: accept4 fd \d+: ENOTSOCK/ };
    await assert.rejects(listener.next(), failure);
    await assert.rejects(listener.next(), failure);
  });
});

describe("a socket to listen on", () => {
  it("replaces one that is left from a process that ended", async () => {
    await withFolder(async (folder) => {
      const path = join(folder, "left");
      UnixSocket.listen(path, 1).close();
      using listener = await UnixListener.listen(path);
      assert.equal(fs.statSync(path).mode & 0o777, 0o600);
      const own = await connectUnix(path);
      (await listener.next()).close();
      own.close();
      listener.close();
      assert.equal(fs.existsSync(path), false);
    });
  });

  it("is refused where another process listens, or there is another file", async () => {
    await withFolder(async (folder) => {
      const path = join(folder, "socket");
      {
        using _ = UnixSocket.listen(path, 1);
        await assert.rejects(UnixListener.listen(path), {
          code: "connection-lost",
          message: `Cannot listen on ${path}: another process listens there`,
        });
      }
      const file = join(folder, "file");
      fs.writeFileSync(file, "kept");
      await assert.rejects(UnixListener.listen(file), /a file of that name that is no socket$/);
      assert.equal(fs.readFileSync(file, "utf8"), "kept");
      await assert.rejects(UnixListener.listen(join(folder, "none", "s")), /ENOENT/);
    });
  });
});

it("a connection that has ended before it is taken is lost", async () => {
  const socket = new net.Socket();
  socket.destroy();
  await once(socket, "close");
  const connection = streamConnection("the source", socket, socket);
  const isLost = (error: unknown): boolean =>
    error instanceof LiveError && error.code === "connection-lost";
  await assert.rejects(connection.read(new Uint8Array(1)), isLost);
  await assert.rejects(connection.write(new Uint8Array(1)), isLost);
});
